"""Reading the text of one column. Every function is pure and raises Unreadable, nothing else."""

from __future__ import annotations

import json
import re
from decimal import Decimal

from jobmeter.model.record import AMOUNT_MAX

_INTEGER = re.compile(r"[+-]?[0-9]+")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)([KMGTPE]?)([nc]?)")
_KIBI = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5, "E": 6}


class Unreadable(ValueError):  # noqa: N818 - the name says the fact
    """The text is not what the column's type needs; the message is a phrase that shows it."""


def integer(text: str) -> int:
    """A whole number as AUDITOR reads it: an optional sign and digits, within 64 bits."""
    if _INTEGER.fullmatch(text) is None:
        raise Unreadable(f"{shown(text)} is not a whole number")
    if len(text) > 20 or not -AMOUNT_MAX - 1 <= (value := int(text)) <= AMOUNT_MAX:
        raise Unreadable(f"{shown(text)} does not fit into 64 bits")
    return value


def size_bytes(text: str) -> int:
    """A size in bytes: bare digits are bytes, else K, M, G … are powers of 1024; a part of a byte is cut off."""
    match = _size(text)
    return bounded(text, Decimal(match[1]) * 1024 ** _KIBI[match[2]])


def mebibytes(text: str) -> int:
    """A size in MiB, a part of one cut off: `4G`, `2000Mn`, `1024M`, `0`; bare digits are MiB.

    Slurm prints requested memory in MiB unless told otherwise; before 21.08 an `n` or `c` (per node, per CPU) followed.
    """
    match = _size(text)
    return bounded(text, Decimal(match[1]) * Decimal(1024) ** (_KIBI[match[2] or "M"] - 2))


def json_texts(text: str) -> dict[str, str]:
    """A JSON object whose values are texts, sorted by key; an empty text is an empty object.

    As AUDITOR: one quotation mark around the whole is dropped, and single quotes are taken for double ones when there
    are no double ones. Beyond it, quotes may be mixed, and an apostrophe inside a value stays one: a quote only ends a
    text where `:`, `,` or `}` follows.
    """
    if not text:
        return {}
    inner = text.removeprefix('"').removesuffix('"')
    for candidate in (text, inner):
        if (found := _strict_object(candidate)) is not None:
            return found
    if '"' not in inner and "\\'" not in inner and (found := _strict_object(inner.replace("'", '"'))) is not None:
        return found
    return dict(sorted(_Loose(inner).object().items()))


def bounded(text: str, value: Decimal) -> int:
    """The value as a whole number. Raises Unreadable where it does not fit into 64 bits."""
    if value > AMOUNT_MAX:
        raise Unreadable(f"{shown(text)} does not fit into 64 bits")
    return int(value)


def shown(text: str) -> str:
    """The text quoted for a message, cut when it is long."""
    return repr(text if len(text) <= 80 else f"{text[:77]}...")


def _strict_object(text: str) -> dict[str, str] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        return None
    return dict(sorted(value.items()))


class _Loose:
    """A reader of `{'key': 'value', …}` with either quote."""

    _QUOTE_ENDS = re.compile(r"\s*(?:[:,}]|$)")

    def __init__(self, text: str) -> None:
        self._text = text.strip()
        self._at = 0

    def object(self) -> dict[str, str]:
        found: dict[str, str] = {}
        self._expect("{")
        while not self._skip("}"):
            key = self._quoted()
            self._expect(":")
            if key in found:
                raise Unreadable(f"{shown(self._text)} names {shown(key)} twice")
            found[key] = self._quoted()
            if not self._skip(","):
                self._expect("}")
                break
        if self._at != len(self._text):
            raise self._unfit()
        return found

    def _quoted(self) -> str:
        self._blanks()
        quote = self._text[self._at : self._at + 1]
        if quote not in {"'", '"'}:
            raise self._unfit()
        self._at += 1
        letters: list[str] = []
        while self._at < len(self._text):
            letter = self._text[self._at]
            self._at += 1
            if letter == "\\" and self._text[self._at : self._at + 1] in {"'", '"', "\\", "/"}:
                letters.append(self._text[self._at])
                self._at += 1
            elif letter == quote and self._QUOTE_ENDS.match(self._text, self._at):
                return "".join(letters)
            else:
                letters.append(letter)
        raise self._unfit()

    def _blanks(self) -> None:
        while self._text[self._at : self._at + 1].isspace():
            self._at += 1

    def _skip(self, sign: str) -> bool:
        self._blanks()
        if self._text[self._at : self._at + 1] != sign:
            return False
        self._at += 1
        return True

    def _expect(self, sign: str) -> None:
        if not self._skip(sign):
            raise self._unfit()

    def _unfit(self) -> Unreadable:
        return Unreadable(f"{shown(self._text)} is not a JSON object of texts")


def _size(text: str) -> re.Match[str]:
    match = _SIZE.fullmatch(text)
    if match is None or len(text) > 40:
        raise Unreadable(f"{shown(text)} is not a size")
    return match
