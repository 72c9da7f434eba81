"""What became of a stored record after it was stored: every change keeps what it replaced, with who, when and why."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

from msgspec import Struct


class ChangeKind(Enum):
    """How a stored record was changed."""

    STOPPED = "stopped"
    """Its stop time was set or set again."""
    CORRECTED = "corrected"
    """It was replaced."""
    WITHDRAWN = "withdrawn"
    """It was taken out of the account. Its id stays taken."""


class Edit(Struct, frozen=True):
    """Who changes a record, why, and when; None where nobody has said so."""

    who: str = ""
    why: str = ""
    at: datetime | None = None


class Version(Struct, frozen=True):
    """A state that a record no longer has: its body, and the change that ended it."""

    number: int
    body: bytes
    ended: ChangeKind
    edit: Edit


class Changed(Enum):
    """What a store did with a correction or a withdrawal."""

    DONE = "done"
    """The record is changed, and what it was is kept."""
    SAME = "same"
    """It says all of this already; nothing was changed."""
    UNKNOWN = "unknown"
    """There is no record with this id, or it was withdrawn."""
    REFUSED = "refused"
    """No database can hold it."""
