"""Declared options become frozen settings: TOML of ours, YAML of the superseded tools, environment variables.

`load.load` is the way in, `options.options` lists what a Struct declares, `sample.sample` prints it as a file.
"""
