"""A record that was sent with the id of a stored one and other content: kept until somebody decides."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

from msgspec import Struct

from jobmeter.model.version import Edit


class Decision(Enum):
    """What was decided about a conflict."""

    KEEP = "keep"
    """The stored record stays."""
    TAKE = "take"
    """The record that was sent takes its place; what was stored is a version."""


class Conflict(Struct, frozen=True):
    """One of them: the record as it would be stored, who sent it first and when, and what was decided (None: open)."""

    record_id: str
    body: bytes
    origin: str
    received: datetime
    decision: Decision | None = None
    edit: Edit = Edit()
    number: int | None = None
    sent: int = 1
    """How often it was sent."""
