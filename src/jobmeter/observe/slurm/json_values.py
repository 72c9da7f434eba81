"""Values in the JSON that Slurm's tools print.

Between 22.05 and 24.11 an optional number became an object `{set, infinite, number}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobmeter.observe.slurm.values import moment_text

Entry = Mapping[str, Any]

_NO_NUMBER = frozenset({-2, -1, 2**32 - 2, 2**32 - 1, 2**64 - 2, 2**64 - 1})
"""Slurm's NO_VAL and INFINITE as they appear in JSON (slurm.h)."""


def at(entry: Entry, *path: str) -> Any:
    """The value at a path of keys, None where there is none."""
    value: Any = entry
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def entries(entry: Entry, *path: str) -> list[Any]:
    """The list at a path, an empty one where there is none."""
    value = at(entry, *path)
    return value if isinstance(value, list) else []


def text(entry: Entry, *path: str) -> str:
    """The text or number at a path as text, "" where there is none."""
    value = at(entry, *path)
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def number(entry: Entry, *path: str) -> int | None:
    """The whole number at a path, None where there is none or Slurm says so."""
    value = at(entry, *path)
    if isinstance(value, dict):
        value = value.get("number") if value.get("set") and not value.get("infinite") else None
    if not isinstance(value, int) or isinstance(value, bool) or value in _NO_NUMBER:
        return None
    return value


def count(entry: Entry, *path: str) -> str:
    """A number as text, "" where there is none."""
    found = number(entry, *path)
    return "" if found is None else str(found)


def moment(entry: Entry, *path: str) -> str:
    """A moment as the text form prints it, "" where there is none. Raises Unreadable."""
    seconds = number(entry, *path)
    return moment_text(seconds) if seconds else ""
