"""The commands: each is a file of this folder with `SUMMARY`, `declare` and `execute`.

A file without a `SUMMARY` in one line is no command. Summaries are read from the text, so that listing the commands
imports none of them.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
from typing import Protocol, cast

_SUMMARY = re.compile(r'^SUMMARY(?:: str)? = "([^"\\\n]+)"$', re.MULTILINE)


class Command(Protocol):
    """What the module of a command offers. It may also name its `SETTINGS`, see `kinds`."""

    SUMMARY: str

    def declare(self, parser: argparse.ArgumentParser) -> None:
        """Add the command's arguments and options."""
        ...

    def execute(self, arguments: argparse.Namespace) -> int:
        """Do the work. The exit code: 0 fine, 1 the work failed, 2 wrong use or configuration."""
        ...


def summaries() -> dict[str, str]:
    """The commands by name, as typed (`sample-config`), with what each does in a line; sorted."""
    found = {}
    for name, text in _sources().items():
        match = _SUMMARY.search(text)
        if match is not None:
            found[name.replace("_", "-")] = match[1]
    return dict(sorted(found.items()))


def is_command(name: str) -> bool:
    """Whether a command has this name, told without reading all the others. False may also mean: look closer."""
    file = os.path.join(os.path.dirname(__file__), f"{name.replace('-', '_')}.py")  # noqa: PTH118, PTH120 - as below
    if not name.replace("-", "").isalnum() or not os.path.isfile(file):  # noqa: PTH113
        return False
    with open(file, encoding="utf-8") as stream:  # noqa: PTH123
        return _SUMMARY.search(stream.read()) is not None


def command(name: str) -> Command:
    """The command's module, imported now. `name` is a key of `summaries`."""
    return cast("Command", importlib.import_module(f"{__name__}.{name.replace('-', '_')}"))


def _sources() -> dict[str, str]:
    folder = os.path.dirname(__file__)  # noqa: PTH120 - pathlib would cost a quarter of what --help may cost
    if not os.path.isdir(folder):  # noqa: PTH112 - inside a zip archive
        from jobmeter.registry import modules_in  # noqa: PLC0415 - only there

        return modules_in(__name__)
    sources = {}
    for entry in os.scandir(folder):
        if entry.name.endswith(".py") and not entry.name.startswith("_"):
            with open(entry.path, encoding="utf-8") as stream:  # noqa: PTH123
                sources[entry.name.removesuffix(".py")] = stream.read()
    return sources
