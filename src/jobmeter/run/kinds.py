"""Which settings files there are: those of commands and reports and those of plugins, by the name that a person uses.

A command or report whose file has settings says so in one line, `SETTINGS = "package.module:Struct"`, which is read
from its text: a check of a file must not import what the command itself needs. A plugin's settings are its class
`Settings`.

Beside the Struct its module may have `not_offered(settings) -> list[str]`: what the settings ask for in good form, but
this release refuses to start with. The class attribute `environment_prefix` names the variables that override it.
"""

from __future__ import annotations

import importlib
import re
import sys
from typing import cast

from msgspec import Struct

from jobmeter import registry
from jobmeter.settings.node import Mapping
from jobmeter.settings.options import options

_DECLARING = {"jobmeter.run.commands": "", "jobmeter.run.reports": "report-"}
"""The packages whose modules may have a line `SETTINGS`, with what their names begin with here."""
_SETTINGS = re.compile(r'^SETTINGS(?:: str)? = "([\w.]+:\w+)"$', re.MULTILINE)
_PLUGIN_NAMES = {
    "observe.batch": "{}",
    "observe.kernel": "source-{}",
    "observe.facility": "section-{}",
    "sinks": "sink-{}",
    "sinks.samples": "samples-{}",
}
_OWN_FILES = ("observe.batch",)
"""The kinds whose plugins are configured by a file each; the settings of the others are tables of a command's file."""


class NoSuchKind(LookupError):  # noqa: N818 - the name says the fact
    """No command and no plugin of this name has settings; the message lists those that have."""


def names() -> tuple[str, ...]:
    """The names of all kinds of settings: `serve`, `slurm`, `sink-server`, …"""
    plugins = (_PLUGIN_NAMES[kind].format(name) for kind in registry.KINDS for name in registry.names(kind))
    return tuple(sorted({*_declared(), *plugins}))


def name_of(kind: str, plugin: str) -> str:
    """The name of a plugin's settings."""
    return _PLUGIN_NAMES[kind].format(plugin)


def settings(name: str) -> type[Struct]:
    """The settings Struct of this name, its module imported now. Raises NoSuchKind."""
    declared = _declared()
    if name in declared:
        module, _, struct = declared[name].partition(":")
        return cast("type[Struct]", getattr(importlib.import_module(module), struct))
    for kind, form in _PLUGIN_NAMES.items():
        for plugin in registry.names(kind):
            if form.format(plugin) == name:
                return cast("type[Struct]", registry.module(kind, plugin).Settings)
    raise NoSuchKind(f"there are no settings called {name!r}; there are: {', '.join(names())}")


def guess(root: Mapping) -> list[str]:
    """The names whose settings declare most of the file's keys: one, or several between which nothing decides."""
    keys = {entry.key for entry in root.entries}
    scores: dict[str, int] = {}
    for name in (*_declared(), *(plugin for kind in _OWN_FILES for plugin in registry.names(kind))):
        known = {option.key for option in options(settings(name)) if "." not in option.key}
        scores[name] = len(keys & known) - len(keys - known)
    best = max(scores.values(), default=0)
    return [name for name, score in scores.items() if score == best]


def not_offered(given: Struct) -> list[str]:
    """What the settings ask for that this release refuses to start with, one sentence each."""
    told = getattr(sys.modules[type(given).__module__], "not_offered", None)
    return [] if told is None else list(told(given))


def _declared() -> dict[str, str]:
    """Where the settings of commands and reports are declared: name to `package.module:Struct`."""
    return {
        beginning + name.replace("_", "-"): match[1]
        for package, beginning in _DECLARING.items()
        for name, text in registry.modules_in(package).items()
        if (match := _SETTINGS.search(text)) is not None
    }
