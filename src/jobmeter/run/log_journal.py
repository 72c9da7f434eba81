"""Log lines for systemd's journal, which has the time itself and takes a priority at the begin of a line.

Facts: systemd.exec(5) for JOURNAL_STREAM, sd-daemon(3) for the priorities.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import TextIO

_PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_DEBUG = 7


def is_journal(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether the journal reads what is written there."""
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):  # no stream of the system, or a closed one
        return False
    return environment.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


class JournalHandler(logging.StreamHandler[TextIO]):
    """Writes each line of an event with its priority, so that `journalctl --priority` finds it."""

    def __init__(self, stream: TextIO, *, as_json: bool) -> None:
        super().__init__(stream)
        self._lines = None if as_json else logging.Formatter("%(name)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """One event, as the formatter has it when it is JSON, else without what the journal says of it anyway."""
        priority = next((number for level, number in _PRIORITIES if record.levelno >= level), _DEBUG)
        text = super().format(record) if self._lines is None else self._lines.format(record)
        return "\n".join(f"<{priority}>{line}" for line in text.splitlines())
