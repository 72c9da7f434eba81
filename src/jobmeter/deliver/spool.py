"""The durable spool: what was collected and not yet delivered, in one SQLite file.

A batch and the cursor that comes with it are stored in one transaction, and the outcomes of a delivery in another: at
any moment a record of a stored cursor is an entry here, a dead letter here, or with the receiver. Several processes and
threads may use one file.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct

from jobmeter.contract import Clock, DocumentBatch, JobBatch
from jobmeter.deliver.days import RECORD_FORMAT, changed_days, count_days, day_at, day_of, days_told, identity
from jobmeter.deliver.fault import SpoolCorrupt, SpoolFull
from jobmeter.deliver.letters import Letters
from jobmeter.deliver.offer import Offer, offer_of
from jobmeter.deliver.queue import (
    Entry,
    append,
    drop_aged,
    drop_for_room,
    due_entries,
    leading_group,
    next_due,
    put_off,
    still_there,
    take_out,
)
from jobmeter.deliver.seen import Kind, Memory
from jobmeter.deliver.settings import SpoolSettings
from jobmeter.deliver.spoolfile import open_file, translated
from jobmeter.deliver.tally import LOSSES, Age, Tally
from jobmeter.model.collection import DayCount
from jobmeter.model.letter import DeadLetter
from jobmeter.model.outcome import Accepted, Outcome, Rejected
from jobmeter.model.record import microseconds

__all__ = ["RECORD_FORMAT", "Absorbed", "Entry", "Report", "Spool", "Status"]

_DAY_SECONDS = 86_400

log = logging.getLogger("jobmeter.deliver")


class Absorbed(Struct, frozen=True):
    """What became of a batch: entries queued, records known before and unchanged, new dead letters."""

    queued: int
    repeated: int
    buried: int


class Status(Struct, frozen=True):
    """What a spool holds. `counters` (see `tally.COUNTERS`) are totals since the file was made.

    `oldest_seconds` is how long the oldest entry has been waiting, None when there is none.
    """

    path: Path
    entries: int
    entries_bytes: int
    oldest_seconds: int | None
    letters: int
    cursors: dict[str, str]
    counters: dict[str, int]


class Report(Struct, frozen=True):
    """What is to be told of a spool: its own name, its state, and changed days with the state of their change."""

    spool: str
    status: Status
    days: tuple[tuple[int, DayCount], ...]


class _Change(NamedTuple):
    """A write transaction under way: the database, its numbers, and when it is."""

    db: sqlite3.Connection
    tally: Tally
    age: Age
    now: datetime


class Spool:
    """The spool in the file `path`. Every method is one transaction: durable when it returns, or nothing has changed.

    Every method raises SpoolUnavailable when the file cannot be used now, its subclass SpoolFull when there is no room,
    and SpoolCorrupt when the file is damaged. Opening raises SpoolTooNew too.
    """

    def __init__(self, path: Path, settings: SpoolSettings, clock: Clock) -> None:
        self.path = path
        self._settings = settings
        self._clock = clock
        self._lock = threading.RLock()
        self._letters = Letters(settings.letters_max, settings.letter_bytes)
        self._memory = Memory(round(settings.seen_days * _DAY_SECONDS))
        self._connection = open_file(path, settings.busy_seconds)

    def close(self) -> None:
        """Release the file. What is stored stays stored."""
        with self._lock, translated(self.path):
            self._connection.close()

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def cursor(self, source: str) -> str | None:
        """Where the source goes on reading, or None when it was never read."""
        with self._reading() as db:
            row = db.execute("SELECT cursor FROM cursors WHERE source = ?", (source,)).fetchone()
        return None if row is None else str(row[0])

    def absorb(self, source: str, batch: JobBatch | DocumentBatch, *, again: bool = False) -> Absorbed:
        """Store what is new or changed in `batch`, its refused entries as dead letters, and its cursor, together.

        `source` names the source and its cluster. An empty cursor leaves the stored one as it is. With `again`,
        items that were collected before are queued once more. Raises SpoolFull at a bound: nothing was stored and the
        cursor stays, so the same batch must be read again later.
        """
        offer = offer_of(batch)
        with self._writing() as change:
            db, tally, age, now = change
            self._memory.prune(db, age)
            fresh = self._fresh(db, source, offer, age)
            places = range(len(offer.items)) if again else fresh
            items = [(source, offer.format, offer.items[place][1]) for place in places]
            self._make_room(change, sum(len(body) for _, _, body in items))
            append(db, tally, items, age, microseconds(now))
            digests = [(_digest(raw).hex(), b"") for raw, _ in offer.refused]
            buried = [offer.refused[place] for place in self._memory.unseen(db, source, Kind.REFUSED, digests, age)]
            self._letters.add_refused(db, tally, source, buried, now)
            if batch.cursor:
                _set_cursor(db, source, batch.cursor)
            repeated = len(offer.items) - len(items)
            collected = [day_of(kind, body) for _, kind, body in items]
            first = [day_of(offer.format, offer.items[place][1]) for place in fresh]
            count_days(db, source, "records", first)
            if again:
                count_days(db, source, "again", collected)
                count_days(db, source, "again", first, sign=-1)
            if offer.format == RECORD_FORMAT:
                count_days(db, source, "refused", [day_at(now)] * len(buried))
                count_days(db, source, "ignored", [day_at(now)] * offer.ignored)
            tally.count("seen", offer.seen)
            tally.count("ignored", offer.ignored)
            tally.count("collected", len(items))
            tally.count("repeated", repeated)
            tally.count("refused", len(buried))
        return Absorbed(len(items), repeated, len(buried))

    def _fresh(self, db: sqlite3.Connection, source: str, offer: Offer, age: Age) -> list[int]:
        """The places of the items that are no repeats, in order."""
        named = [(place, name, _digest(body)) for place, (name, body) in enumerate(offer.items) if name is not None]
        asked = [(name, digest) for _, name, digest in named]
        unseen = self._memory.unseen(db, source, offer.kind, asked, age, first_counts=offer.first_counts)
        if len(named) == len(offer.items):
            return unseen
        nameless = (place for place, (name, _) in enumerate(offer.items) if name is None)
        return sorted([*(named[at][0] for at in unseen), *nameless])

    def enqueue(self, source: str, format_: str, bodies: Sequence[bytes]) -> None:
        """Queue bodies (UTF-8) in a format that the sink knows, all or none, repeats too. Raises SpoolFull.

        For whoever writes without a cursor and remembers itself what it wrote.
        """
        with self._writing() as change:
            self._make_room(change, sum(map(len, bodies)))
            items = [(source, format_, body) for body in bodies]
            append(change.db, change.tally, items, change.age, microseconds(change.now))
            count_days(change.db, source, "records", [day_of(format_, body) for body in bodies])
            change.tally.count("collected", len(items))

    def due(self, limit: int) -> list[Entry]:
        """The next entries to deliver, at most `limit`, taken for `lease_seconds`: nobody else gets them until then.

        Entries that failed before come in smaller groups, halved with each attempt, so that one which spoils every
        group it is in soon stands alone.
        """
        if self.next_due_seconds() != 0:
            return []  # an idle spool is not written to
        with self._writing() as (db, tally, age, moment):
            if self._settings.max_age_days is not None:
                drop_aged(db, tally, age.seconds - round(self._settings.max_age_days * _DAY_SECONDS))
            now = microseconds(moment)
            entries = leading_group(due_entries(db, now, limit), limit)
            until = now + round(self._settings.lease_seconds * 1_000_000)
            db.executemany(
                "UPDATE entries SET attempts = attempts + 1, wait_from = ?, wait_until = ? WHERE number = ?",
                [(now, until, entry.number) for entry in entries],
            )
        return entries

    def next_due_seconds(self) -> float | None:
        """How long until some entry is due: 0 when one is, None when there is no entry."""
        with self._reading() as db:
            return next_due(db, microseconds(self._clock.now()))

    def settle(self, outcomes: Sequence[tuple[Entry, Outcome]]) -> None:
        """Record what became of entries taken by `due`: accepted ones go, rejected ones become dead letters.

        Kept ones are due again after their `delay_seconds`. An entry that is gone by now (another deliverer has settled
        it) is passed over.
        """
        with self._writing() as (db, tally, _, moment):
            there = still_there(db, [entry.number for entry, _ in outcomes])
            accepted: dict[int, Entry] = {}
            rejected: dict[int, tuple[Entry, Rejected]] = {}
            kept: dict[int, float] = {}
            for entry, outcome in outcomes:
                if entry.number not in there or entry.number in accepted or entry.number in rejected:
                    continue
                if isinstance(outcome, Accepted):
                    accepted[entry.number] = entry
                elif isinstance(outcome, Rejected):
                    rejected[entry.number] = (entry, outcome)
                else:
                    kept[entry.number] = outcome.delay_seconds
            put_off(db, kept, microseconds(moment))
            take_out(db, tally, accepted.values(), "delivered")
            take_out(db, tally, [entry for entry, _ in rejected.values()], "rejected")
            for entry, outcome in rejected.values():
                self._letters.add_rejected(db, tally, entry, outcome.reason, moment)

    def letters(self, limit: int, before: int | None = None) -> list[DeadLetter]:
        """The newest dead letters, newest first; with `before`, those numbered below it."""
        with self._reading() as db:
            return self._letters.newest(db, limit, before)

    def sendable(self, numbers: Sequence[int]) -> list[int]:
        """Those of `numbers` whose letters `retry` would put back."""
        with self._reading() as db:
            return self._letters.sendable(db, numbers)

    def retry(self, numbers: Sequence[int]) -> list[int]:
        """Put rejected entries back into the queue, as if new. Gives the numbers of the letters that went back.

        What a source could not turn into an entry stays a letter: only collecting its time again can mend it.
        """
        with self._writing() as (db, tally, age, now):
            return self._letters.requeue(db, tally, numbers, age, now)

    def discard(self, numbers: Sequence[int]) -> int:
        """Forget dead letters for good; they are counted. Gives how many there were."""
        with self._writing() as (db, tally, _, _):
            return self._letters.discard(db, tally, numbers)

    def status(self) -> Status:
        """What the spool holds."""
        with self._reading() as db:
            tally, age = Tally(db), Age.read(db)
            oldest = db.execute("SELECT added_age FROM entries ORDER BY number LIMIT 1").fetchone()
            return Status(
                path=self.path,
                entries=tally.entries,
                entries_bytes=tally.entries_bytes,
                oldest_seconds=None if oldest is None else age.seconds - oldest[0],
                letters=db.execute("SELECT count(*) FROM letters").fetchone()[0],
                cursors=dict(db.execute("SELECT source, cursor FROM cursors ORDER BY source").fetchall()),
                counters=tally.counters(),
            )

    def report(self, source: str, days_max: int = 1000) -> Report:
        """The state of this spool and the days of `source` that no report has told yet."""
        with self._writing() as (db, _, _, _):
            name, days = identity(db), changed_days(db, source, days_max)
        return Report(name, self.status(), tuple(days))

    def reported(self, source: str, report: Report) -> None:
        """The receiver holds this report."""
        with self._writing() as (db, _, _, _):
            days_told(db, source, report.days)

    def verify(self) -> None:
        """Read the whole file and raise SpoolCorrupt when it is damaged. Takes seconds for a large spool."""
        with self._reading() as db:
            found = [str(row[0]) for row in db.execute("PRAGMA quick_check(3)").fetchall()]
        if found != ["ok"]:
            raise SpoolCorrupt(self.path, f"the file is damaged ({'; '.join(found)})")

    def _make_room(self, change: _Change, size_bytes: int) -> None:
        """Raise SpoolFull when there is no room for `size_bytes` more, or drop what is oldest when that is wanted."""
        settings, tally = self._settings, change.tally
        if settings.max_age_days is not None:
            drop_aged(change.db, tally, change.age.seconds - round(settings.max_age_days * _DAY_SECONDS))
        if size_bytes == 0:
            return
        if settings.reserve_bytes:
            disk = os.statvfs(self.path.parent)
            if disk.f_bavail * disk.f_frsize < settings.reserve_bytes + size_bytes:
                raise SpoolFull(self.path, f"less than {settings.reserve_bytes} bytes are free on its disk")
        excess = tally.entries_bytes + size_bytes - settings.max_bytes
        # A batch that is larger than the bound by itself goes into an empty spool, or it would never go anywhere.
        if excess > 0 and tally.entries:
            if settings.when_full == "wait":
                raise SpoolFull(
                    self.path, f"{tally.entries} records wait for delivery, {settings.max_bytes} bytes is the bound"
                )
            drop_for_room(change.db, tally, excess)

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._transaction("BEGIN"):
            yield self._connection

    @contextmanager
    def _writing(self) -> Iterator[_Change]:
        with self._transaction("BEGIN IMMEDIATE"):
            now = self._clock.now()
            tally = Tally(self._connection)
            yield _Change(self._connection, tally, Age.advance(self._connection, now), now)
            tally.write()
        for name in LOSSES:
            if name in tally.added:
                log.error("spool.lost cause=%s entries=%d spool=%s", name, tally.added[name], self.path)

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[None]:
        with self._lock, translated(self.path):
            self._connection.execute(begin)
            try:
                yield
                self._connection.execute("COMMIT")
            finally:
                # After some faults, such as a full disk, SQLite has rolled back by itself.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=16).digest()


def _set_cursor(db: sqlite3.Connection, source: str, cursor: str) -> None:
    db.execute(
        "INSERT INTO cursors (source, cursor) VALUES (?, ?)"
        " ON CONFLICT (source) DO UPDATE SET cursor = excluded.cursor",
        (source, cursor),
    )
