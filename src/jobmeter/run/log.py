"""How the program logs: one line an event on standard error, as key=value text."""

from __future__ import annotations

import logging
import os
import sys
import time
from pathlib import Path

_MIB = 2**20

LEVELS = ("trace", "debug", "info", "warn", "error", "off")
"""Names of levels, as the superseded tools write them; `trace` is as much as `debug`."""

_LEVELS = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "off": logging.CRITICAL + 1,
}


class _Lines(logging.Formatter):
    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"


def start_logging(level: str | None, *, as_json: bool = False) -> None:
    """Send the program's events from `level` on to standard error; None leaves the level at info.

    As text, or `as_json`, each an object in a line; where systemd's journal reads them, with priorities in place of
    times. Called once by `main` with what the command line says. A command whose settings name a level calls
    `set_level`.
    """
    handler = logging.StreamHandler(sys.stderr)
    if "JOURNAL_STREAM" in os.environ:
        from jobmeter.run.log_journal import JournalHandler, is_journal  # noqa: PLC0415 - below systemd only

        if is_journal(sys.stderr, os.environ):
            handler = JournalHandler(sys.stderr, as_json=as_json)
    if as_json:
        from jobmeter.run.log_json import JsonLines  # noqa: PLC0415 - only where it is wanted

        handler.setFormatter(JsonLines())
    else:
        handler.setFormatter(_Lines("%(asctime)s %(levelname)s %(name)s %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    set_level(level or "info")


def set_level(level: str) -> None:
    """Show our own events from `level` on (a name of LEVELS in any case). Raises KeyError for another name."""
    logging.getLogger("jobmeter").setLevel(_LEVELS[level.lower()])


def log_to_file(file: Path, size_mib: int = 10, backups: int = 5) -> None:
    """Write what is logged to `file`, too, and begin a new one when it has grown to its size. Raises OSError."""
    from logging.handlers import RotatingFileHandler  # noqa: PLC0415 - slow to import, and rarely wanted

    file.parent.mkdir(parents=True, exist_ok=True)
    handler = RotatingFileHandler(file, maxBytes=size_mib * _MIB, backupCount=backups, encoding="utf-8")
    root = logging.getLogger()
    if root.handlers:
        handler.setFormatter(root.handlers[0].formatter)
    root.addHandler(handler)


def debugging() -> bool:
    """Whether details for a developer, such as the trace of an unexpected fault, are wanted."""
    return logging.getLogger("jobmeter").isEnabledFor(logging.DEBUG)
