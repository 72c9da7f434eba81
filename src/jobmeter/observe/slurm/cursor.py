"""Where reading goes on: a small JSON text, and the time that the next reading covers."""

from __future__ import annotations

from datetime import datetime, timedelta
from hashlib import blake2b

import msgspec
from msgspec import Struct

from jobmeter.model.period import Period
from jobmeter.observe.slurm.settings import Settings

STEPS_SECONDS = 300
"""How long a job whose steps are not all stored as ended is waited for, beyond the time that every job is given."""


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


def shape_of(settings: Settings) -> str:
    """A short name for the rules that make records: the same rules make the same record of a job."""
    rules = (settings.record_prefix, settings.sites, settings.meta, settings.components, settings.unit)
    return blake2b(msgspec.json.encode(rules), digest_size=8).hexdigest()


def first_cursor(first: datetime, now: datetime, settings: Settings) -> Cursor:
    """The cursor of a source that was never read and begins at `first`."""
    return Cursor(until=first, first=first, swept=now, shape=shape_of(settings))


class Plan(Struct, frozen=True):
    """What to read now: `period`, and the cursors before its first slice and after its last."""

    period: Period
    before: Cursor
    after: Cursor


def plan(cursor: Cursor, now: datetime, settings: Settings) -> Plan:
    """What to read at `now`: from the overlap before `cursor.until`, or from further back when a sweep is due.

    Records made by earlier rules are not made again by new ones, as they would differ from those that the server has:
    after a change of the rules only what was not taken yet is read again.
    """
    patience = timedelta(seconds=settings.settle_seconds + STEPS_SECONDS)
    until = min(cursor.until, now)  # a clock that was set back must not leave a hole
    first, shape = cursor.first, shape_of(settings)
    if cursor.shape != shape:
        first = max(first, until - patience)
    start = until - max(timedelta(seconds=settings.overlap_seconds), patience)
    swept = cursor.swept
    if settings.sweep_seconds and not timedelta(0) <= now - swept < timedelta(seconds=settings.sweep_every_seconds):
        start = min(start, now - timedelta(seconds=settings.sweep_seconds))
        swept = now
    before = Cursor(until=until, first=first, swept=cursor.swept, shape=shape)
    after = Cursor(until=max(until, now), first=first, swept=swept, shape=shape)
    return Plan(Period(max(start, first), now), before, after)
