"""What a collector says of its work, per source and day, and what that amounts to beside the account.

A record belongs to the day (UTC) on which its job stopped, or on which it started while it runs. What never became a
record has no such day: it belongs to the day on which it was read. A record that is read again unchanged is no second
one; what configuration leaves out is counted at each reading, as nothing is remembered of it.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated

from msgspec import Meta, Struct

Count = Annotated[int, Meta(ge=0, le=2**62)]


class DayCount(Struct, frozen=True):
    """One day of one spool. At any time records + again = delivered + rejected + dropped + what waits.

    `records` were queued for the first time, `again` once more on request, `refused` could not become records.
    """

    day: date
    records: Count = 0
    again: Count = 0
    refused: Count = 0
    ignored: Count = 0
    delivered: Count = 0
    rejected: Count = 0
    dropped: Count = 0

    @property
    def waiting(self) -> int:
        """How many are still in the spool."""
        return self.records + self.again - self.delivered - self.rejected - self.dropped


class Cost(Struct, frozen=True):
    """What a collector's process used of its machine since it was started `up_seconds` ago."""

    up_seconds: Annotated[float, Meta(ge=0, le=2**40)]
    cpu_seconds: Annotated[float, Meta(ge=0, le=2**40)]
    peak_bytes: Count

    @property
    def cpu_share(self) -> float | None:
        """The part of one core; None of a process that has only begun."""
        return self.cpu_seconds / self.up_seconds if self.up_seconds else None


class Collection(Struct, frozen=True):
    """The report of one spool: how it is now, and the days that changed, each with its counts so far.

    `spool` is the spool's own random name, so that several collectors of one source are added up. Records of the source
    have ids that begin with `prefix`; None when that cannot be said.
    """

    source: Annotated[str, Meta(min_length=1, max_length=256)]
    spool: Annotated[str, Meta(min_length=1, max_length=64)]
    version: Annotated[str, Meta(max_length=64)] = ""
    prefix: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    waiting: Count = 0
    letters: Count = 0
    oldest_seconds: Count | None = None
    days: tuple[DayCount, ...] = ()
    cost: Cost | None = None


class CollectorState(Struct, frozen=True):
    """How one spool was when it reported last, at `reported_us` (microseconds since 1970)."""

    source: str
    spool: str
    version: str
    waiting: int
    letters: int
    oldest_seconds: int | None
    reported_us: int
    cost: Cost | None = None


class Reconciled(Struct, frozen=True):
    """One source and day: all its spools together, beside `stored`, the records of that day in the account.

    `stored` is None where the account cannot tell which records are of this source.
    """

    source: str
    counts: DayCount
    stored: int | None

    @property
    def seen(self) -> int:
        """What the source had: records, entries that could become none, and what was left out."""
        return self.counts.records + self.counts.refused + self.counts.ignored

    @property
    def dead(self) -> int:
        """What is kept with a reason and will not be stored as it is."""
        return self.counts.refused + self.counts.rejected

    @property
    def held(self) -> int:
        """What the account has of it: stored, or where that cannot be told what it acknowledged."""
        return self.counts.delivered - self.counts.again if self.stored is None else self.stored

    @property
    def gap(self) -> int:
        """Seen, but neither stored nor dead nor ignored nor waiting. Below zero: more is stored than was seen."""
        return self.seen - self.held - self.dead - self.counts.ignored - self.counts.waiting
