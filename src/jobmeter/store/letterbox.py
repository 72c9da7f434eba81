"""Dead letters on their way in: cut to what a database may be asked to keep."""

from __future__ import annotations

from msgspec import Struct

from jobmeter.model.letter import DeadLetter
from jobmeter.model.record import from_microseconds, microseconds

EVICTED = "dead_letters_evicted"
"""The counter of letters that had to go for newer ones."""

_TEXT_MAX = 1000


class Bounds(Struct, frozen=True):
    """At most `letters` dead letters are kept, each with at most `body_bytes` of what was refused."""

    letters: int = 10_000
    body_bytes: int = 64 * 1024


LetterRow = tuple[str, str, bytes, int, int]
"""Origin, reason, body, received_us, size_bytes."""


def letter_row(letter: DeadLetter, bounds: Bounds) -> LetterRow:
    """The columns of a letter; what no database can hold is replaced, what is too long is cut."""
    return (
        _text(letter.origin),
        _text(letter.reason),
        letter.body[: bounds.body_bytes],
        microseconds(letter.received),
        letter.size_bytes,
    )


def letter_of(number: int, row: LetterRow) -> DeadLetter:
    """The letter that a row of the table holds."""
    origin, reason, body, received_us, size_bytes = row
    return DeadLetter(origin, reason, body, from_microseconds(received_us), size_bytes, number)


def _text(text: str) -> str:
    return text[:_TEXT_MAX].replace("\0", "\ufffd").encode("utf-8", "replace").decode()
