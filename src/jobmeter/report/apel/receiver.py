"""What APEL's database makes of texts: columns of a width, and names that it takes for one another.

Facts: schemas/server.sql of apel/apel, in MariaDB as it is set up by default (strict, and no difference of case or of
blanks at the end). A text that is too wide rejects its whole message. Of rows whose keys are taken for equal the last
one stays, and the jobs of the others are lost.
"""

from __future__ import annotations

import hashlib
import re

Value = str | int | float | None

NULLS = frozenset({"none", "null", ""})
"""Texts that stand for no value, in lower case."""

WIDTHS = {
    "Infrastructure": 20,
    "InfrastructureType": 20,
    "InfrastructureDescription": 100,
    "Queue": 100,
    "ServiceLevelType": 50,
}
WIDTH = 255

_DIGITS = 8
_UNSAFE = re.compile(r"[^\x20-\x7e]|%(?=%)|(?<=%)%")


def width_of(field: str) -> int:
    """How many characters the column of a field takes."""
    return WIDTHS.get(field, WIDTH)


def written(value: Value) -> str:
    """The value as it stands behind the colon: ASCII, one line."""
    if value is None:
        return "None"
    if isinstance(value, str):
        return _UNSAFE.sub(
            lambda found: "".join(f"\\{byte:02X}" for byte in found[0].encode("utf-8", "replace")), value
        )
    return str(value)


def fitted(field: str, value: Value) -> str:
    """The same, as wide as the field's column: of a longer text the beginning, and digits that tell it from others."""
    text, width = written(value), width_of(field)
    if len(text) <= width:
        return text
    return f"{text[: width - _DIGITS - 1]}~{hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]}"


def alike(value: Value) -> Value:
    """What is the same of two values that the receiver takes for one another."""
    if not isinstance(value, str):
        return value
    text = written(value).strip().lower()
    return None if text in NULLS else text
