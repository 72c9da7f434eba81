"""What became of an item that was handed on: the three outcomes of a delivery, and those of a store."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct


class Accepted(Struct, frozen=True, tag=True):
    """The next stage holds the item durably; the sender may forget it. `receipt` is what it gave to refer to it by."""

    receipt: str = ""


class Rejected(Struct, frozen=True, tag=True):
    """The item can never be taken as it is; `reason` is a sentence for the operator."""

    reason: str


class Keep(Struct, frozen=True, tag=True):
    """The item could not be taken now. `delay_seconds` is the shortest wait that the next stage asked for."""

    delay_seconds: float = 0.0
    reason: str = ""


Outcome = Accepted | Rejected | Keep


class Stored(Enum):
    """What a store did with a record."""

    NEW = "new"
    """It was not there and now is."""
    SAME = "same"
    """It was there and says all of this, perhaps with the stop time that came later: a harmless repeat."""
    CONFLICT = "conflict"
    """Its id was there with other content; the stored record was left as it was."""
    REFUSED = "refused"
    """No database can hold it (a NUL or half a character in a name); a checked record never gets this answer."""


THERE = (Stored.NEW, Stored.SAME)
"""The store has the record. A tuple: a member is compared in a tenth of the time that its hash takes."""


class Stopped(Enum):
    """What a store did with the news that a record's job stopped."""

    DONE = "done"
    """The stop time is set."""
    UNKNOWN = "unknown"
    """There is no record with this id."""
    BEFORE_START = "before start"
    """The stop lies before the record's start; nothing was changed."""
