"""A settings file as a tree of values that know their place, whatever language it was written in."""

from __future__ import annotations

import math
import re
from datetime import date, datetime, time

from msgspec import Struct

from jobmeter.settings.fault import Place

Plain = None | bool | int | float | str | datetime | date | time

_INTEGER = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_TRUTH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


class Scalar(Struct, frozen=True):
    """A single value. `text` is what was written, where the language lets plain text stand for any type, else None.

    `listed` says that commas in the text part the elements of a list, as in environment variables.
    """

    value: Plain
    place: Place
    text: str | None = None
    listed: bool = False


class Sequence(Struct, frozen=True):
    """A list of values."""

    items: tuple[Node, ...]
    place: Place


class Entry(Struct, frozen=True):
    """A key with its value; `place` is the key's."""

    key: str
    value: Node
    place: Place


class Mapping(Struct, frozen=True):
    """Keys with values, each key once. `tag` is the explicit type that the file names, without the mark."""

    entries: tuple[Entry, ...]
    place: Place
    tag: str | None = None

    def find(self, key: str) -> Entry | None:
        """The entry with this very key."""
        return next((entry for entry in self.entries if entry.key == key), None)


Node = Scalar | Sequence | Mapping


def truth(text: str) -> bool | None:
    """The truth value that `text` names in any case, or None."""
    return _TRUTH.get(text.strip().lower())


def integer(text: str) -> int | None:
    """The whole number written in decimal digits, or None. Leading zeros change nothing."""
    text = text.strip()
    return int(text) if len(text) <= 32 and _INTEGER.fullmatch(text) else None


def number(text: str) -> float | None:
    """The finite number written in decimal, or None."""
    text = text.strip()
    if len(text) > 64 or _NUMBER.fullmatch(text) is None:
        return None
    value = float(text)
    return value if math.isfinite(value) else None
