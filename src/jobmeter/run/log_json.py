"""Log lines as JSON objects, one a line, for those who collect logs by program."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from datetime import UTC, datetime

_FIELD = re.compile(r"(?:(\w+)=)?%[-+ #0]*[\d.]*([a-zA-Z%])")


class JsonLines(logging.Formatter):
    """`time`, `level`, `logger`, `event` and `message`; and each `key=value` of an event as a key of its own.

    A value is a number or a truth value where it was one, else text. `trace` holds the lines of an exception.
    """

    def format(self, record: logging.LogRecord) -> str:
        """One event in one line."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "event": str(record.msg).partition(" ")[0],
            "message": record.getMessage(),
        }
        line |= {key: value for key, value in _fields(record) if key not in line}
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def _fields(record: logging.LogRecord) -> Iterator[tuple[str, object]]:
    if not isinstance(record.msg, str) or not isinstance(record.args, tuple):
        return
    found = [match for match in _FIELD.finditer(record.msg) if match[2] != "%"]
    if len(found) != len(record.args):
        return
    for match, value in zip(found, record.args, strict=True):
        if match[1]:
            yield match[1], value if isinstance(value, bool | int | float | None) else str(value)
