"""The spool's dead letters: what can never be delivered as it is, kept with the reason until someone looks."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct

from jobmeter.deliver.days import count_days, day_of
from jobmeter.deliver.queue import Entry, append
from jobmeter.deliver.tally import Age, Tally
from jobmeter.model.letter import DeadLetter
from jobmeter.model.record import from_microseconds, microseconds


class Letters(Struct, frozen=True):
    """The table of dead letters, at most `most` of them, the body of an unreadable entry cut at `body_bytes`."""

    most: int
    body_bytes: int

    def add_rejected(self, db: sqlite3.Connection, tally: Tally, entry: Entry, reason: str, now: datetime) -> None:
        """Keep an entry that the receiver refused, whole: it may be sent again."""
        row = (entry.source, entry.format, _plain(reason), entry.body, len(entry.body), microseconds(now))
        self._add(db, tally, [row])

    def add_refused(
        self, db: sqlite3.Connection, tally: Tally, source: str, entries: Sequence[tuple[bytes, str]], now: datetime
    ) -> None:
        """Keep what the source could not turn into entries, each (its text, the reason)."""
        rows = [
            (source, None, _plain(reason), text[: self.body_bytes], len(text), microseconds(now))
            for text, reason in entries
        ]
        self._add(db, tally, rows)

    def newest(self, db: sqlite3.Connection, limit: int, before: int | None) -> list[DeadLetter]:
        """The newest letters, newest first; with `before`, those numbered below it."""
        rows = db.execute(
            "SELECT number, source, reason, body, size_bytes, received FROM letters"
            " WHERE ? IS NULL OR number < ? ORDER BY number DESC LIMIT ?",
            (before, before, limit),
        ).fetchall()
        return [
            DeadLetter(origin, reason, body, from_microseconds(received), size_bytes, number)
            for number, origin, reason, body, size_bytes, received in rows
        ]

    def sendable(self, db: sqlite3.Connection, numbers: Sequence[int]) -> list[int]:
        """Those of `numbers` that are rejected entries, which may be sent again."""
        statement = "SELECT 1 FROM letters WHERE number = ? AND format IS NOT NULL"
        return [number for number in numbers if db.execute(statement, (number,)).fetchone() is not None]

    def requeue(
        self, db: sqlite3.Connection, tally: Tally, numbers: Sequence[int], age: Age, now: datetime
    ) -> list[int]:
        """Make rejected entries entries again. Gives the numbers of those that were; the others stay as they are."""
        done = []
        due = microseconds(now)
        for number in numbers:
            row = db.execute(
                "SELECT source, format, body FROM letters WHERE number = ? AND format IS NOT NULL", (number,)
            ).fetchone()
            if row is None:
                continue
            append(db, tally, [row], age, due)
            count_days(db, row[0], "rejected", [day_of(row[1], row[2])], sign=-1)
            db.execute("DELETE FROM letters WHERE number = ?", (number,))
            done.append(number)
        tally.count("retried", len(done))
        return done

    def discard(self, db: sqlite3.Connection, tally: Tally, numbers: Sequence[int]) -> int:
        """Forget letters. Gives how many of `numbers` there were."""
        gone = sum(db.execute("DELETE FROM letters WHERE number = ?", (number,)).rowcount for number in numbers)
        tally.count("discarded", gone)
        return gone

    def _add(self, db: sqlite3.Connection, tally: Tally, rows: Sequence[tuple[object, ...]]) -> None:
        if not rows:
            return
        db.executemany(
            "INSERT INTO letters (source, format, reason, body, size_bytes, received) VALUES (?, ?, ?, ?, ?, ?)", rows
        )
        excess = db.execute("SELECT count(*) FROM letters").fetchone()[0] - self.most
        if excess > 0:
            db.execute(
                "DELETE FROM letters WHERE number IN (SELECT number FROM letters ORDER BY number LIMIT ?)", (excess,)
            )
            tally.count("evicted", excess)


def _plain(text: str) -> str:
    # A reason may quote undecodable input; what is no Unicode text cannot be stored as text.
    return text.encode("utf-8", "backslashreplace").decode()
