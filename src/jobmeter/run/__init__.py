"""Composition roots and the command line: environment, signals, exit codes."""
