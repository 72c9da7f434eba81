"""The spool's numbers, kept in the same transactions as what they count."""

from __future__ import annotations

import sqlite3
from datetime import datetime

from msgspec import Struct

from jobmeter.model.record import microseconds

COUNTERS = {
    "seen": "entries that the sources looked at",
    "ignored": "entries left out by configuration",
    "refused": "entries that could not become a record, kept as dead letters",
    "repeated": "records collected again with equal content",
    "collected": "records queued",
    "delivered": "records that the receiver holds",
    "rejected": "records that the receiver refused, kept as dead letters",
    "retried": "dead letters put back into the queue",
    "discarded": "dead letters thrown away on request",
    "dropped_size": "records lost because the spool was full",
    "dropped_age": "records lost because they waited too long",
    "evicted": "dead letters lost because there were too many",
}
"""What is counted. At any time collected + retried = delivered + rejected + dropped_size + dropped_age + waiting."""

LOSSES = ("dropped_size", "dropped_age", "evicted")
"""The counters of what is lost for good."""

_STEP_MAX_SECONDS = 86_400
_SECOND = 1_000_000


class Tally:
    """The numbers at the start of a transaction and what it adds to them; `write` stores the result."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        state: dict[str, int] = dict(db.execute("SELECT name, value FROM state").fetchall())
        self.entries = state.get("entries", 0)
        self.entries_bytes = state.get("entries_bytes", 0)
        self.added: dict[str, int] = {}

    def queue(self, entries: int, size_bytes: int) -> None:
        """The queue grew (or shrank, below zero) by this."""
        self.entries += entries
        self.entries_bytes += size_bytes

    def count(self, name: str, number: int) -> None:
        """Add `number` to one of COUNTERS."""
        if number:
            self.added[name] = self.added.get(name, 0) + number

    def counters(self) -> dict[str, int]:
        """All counters, those never counted at 0."""
        stored: dict[str, int] = dict(self._db.execute("SELECT name, value FROM counters").fetchall())
        return {name: stored.get(name, 0) + self.added.get(name, 0) for name in COUNTERS}

    def write(self) -> None:
        """Store the numbers within the transaction."""
        set_state(self._db, "entries", self.entries)
        set_state(self._db, "entries_bytes", self.entries_bytes)
        self._db.executemany(
            "INSERT INTO counters (name, value) VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
            list(self.added.items()),
        )


class Age(Struct, frozen=True):
    """The spool's own age, by which things grow old: seconds of the clock, counted in steps of at most a day.

    A clock set back counts nothing and a clock set ahead by a year counts one day, so that neither makes everything
    too old at once. A spool that nobody used for long is younger than the calendar says, and keeps things longer.
    """

    seconds: int

    @classmethod
    def read(cls, db: sqlite3.Connection) -> Age:
        """The age as of the last change of the spool."""
        return cls(_state(db, "age_seconds") or 0)

    @classmethod
    def advance(cls, db: sqlite3.Connection, now: datetime) -> Age:
        """The age at the moment `now` of the clock, stored within the transaction."""
        clock = microseconds(now)
        counted = _state(db, "age_counted")
        age = _state(db, "age_seconds") or 0
        if counted is None or not 0 <= clock - counted <= _STEP_MAX_SECONDS * _SECOND:
            step = _STEP_MAX_SECONDS if counted is not None and clock > counted else 0
            counted = clock
        else:
            step = (clock - counted) // _SECOND
            counted += step * _SECOND
        set_state(db, "age_seconds", age + step)
        set_state(db, "age_counted", counted)
        return cls(age + step)


def set_state(db: sqlite3.Connection, name: str, value: int) -> None:
    """Store one number of the spool's state."""
    db.execute(
        "INSERT INTO state (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (name, value),
    )


def _state(db: sqlite3.Connection, name: str) -> int | None:
    row = db.execute("SELECT value FROM state WHERE name = ?", (name,)).fetchone()
    return None if row is None else int(row[0])
