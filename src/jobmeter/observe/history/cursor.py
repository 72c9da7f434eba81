"""Where reading goes on: a small JSON text, and the time that the next reading covers."""

from __future__ import annotations

from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any

import msgspec
from msgspec import Struct

from jobmeter.model.period import Period


class CursorUnreadable(ValueError):  # noqa: N818 - the name says the fact
    """The text is not a cursor of this source."""


class Cursor(Struct, frozen=True, omit_defaults=True):
    """All that ended before `until` has been read once; what ended before `first` is never read.

    `swept` is when the deeper sweep last began, `shape` names the rules by which records were made.
    """

    until: datetime
    first: datetime
    swept: datetime
    shape: str
    version: int = 1

    def text(self) -> str:
        """The cursor as it is kept."""
        return msgspec.json.encode(self).decode()

    def reached(self, moment: datetime) -> Cursor:
        """The cursor after everything that ended before `moment` was read."""
        return msgspec.structs.replace(self, until=max(self.until, moment))


def cursor_of(text: str) -> Cursor:
    """The cursor that a text keeps. Raises CursorUnreadable."""
    try:
        cursor = msgspec.json.decode(text, type=Cursor)
    except (msgspec.MsgspecError, UnicodeError) as fault:
        raise CursorUnreadable(f"the cursor cannot be read: {fault}") from None
    moments = (cursor.until, cursor.first, cursor.swept)
    if cursor.version != 1 or any(moment.tzinfo is None for moment in moments):
        raise CursorUnreadable("the cursor is of a later version, or damaged")
    return cursor


class Rhythm(Struct, frozen=True):
    """How a source reads on. `shape` names the rules by which it makes records, see `shape_of`.

    What ended less than `patience` ago may not have been taken yet. Every reading looks `overlap` further back than the
    last one came, and once in `sweep_every` it looks `sweep` back (zero: never).
    """

    patience: timedelta
    overlap: timedelta
    sweep: timedelta
    sweep_every: timedelta
    shape: str


def shape_of(*rules: Any) -> str:
    """A short name for the rules that make records: the same rules make the same record of a job."""
    return blake2b(msgspec.json.encode(rules), digest_size=8).hexdigest()


def first_cursor(first: datetime, now: datetime, rhythm: Rhythm) -> Cursor:
    """The cursor of a source that was never read and begins at `first`."""
    return Cursor(until=first, first=first, swept=now, shape=rhythm.shape)


class Plan(Struct, frozen=True):
    """What to read now: `period`, and the cursors before its first slice and after its last."""

    period: Period
    before: Cursor
    after: Cursor


def plan(cursor: Cursor, now: datetime, rhythm: Rhythm) -> Plan:
    """What to read at `now`: from the overlap before `cursor.until`, or from further back when a sweep is due.

    Records made by earlier rules are not made again by new ones, as they would differ from those that the server has:
    after a change of the rules only what was not taken yet is read again.
    """
    until = min(cursor.until, now)  # a clock that was set back must not leave a hole
    first = cursor.first if cursor.shape == rhythm.shape else max(cursor.first, until - rhythm.patience)
    start = until - max(rhythm.overlap, rhythm.patience)
    swept = cursor.swept
    if rhythm.sweep and not timedelta(0) <= now - swept < rhythm.sweep_every:
        start = min(start, now - rhythm.sweep)
        swept = now
    before = Cursor(until=until, first=first, swept=cursor.swept, shape=rhythm.shape)
    after = Cursor(until=max(until, now), first=first, swept=swept, shape=rhythm.shape)
    return Plan(Period(max(start, first), now), before, after)
