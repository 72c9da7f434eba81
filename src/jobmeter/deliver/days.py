"""What a spool has taken and handed on, per source and day, counted in the transactions that do it.

The counts are totals, never differences: a report of them may be sent twice, or late, and says the same. `changed`
grows with every change, so that a report that was taken marks just what it told.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime

from jobmeter.model.collection import DayCount

RECORD_FORMAT = "auditor-record/1"
"""The encoding of an entry: one record as `jobmeter.wire.auditor.encode_record` writes it."""

_COLUMNS = ("records", "again", "refused", "ignored", "delivered", "rejected", "dropped")
_DAY_SECONDS = 86_400
_EPOCH = date(1970, 1, 1).toordinal()
# Bodies are written by `encode_record`: no blanks, times in UTC. Within a string every quote is escaped.
_STOP = re.compile(rb'"stop_time":"(\d{4}-\d\d-\d\d)')
_START = re.compile(rb'"start_time":"(\d{4}-\d\d-\d\d)')

TABLES = (
    """CREATE TABLE days (
        source TEXT NOT NULL,
        day INTEGER NOT NULL,
        records INTEGER NOT NULL DEFAULT 0,
        again INTEGER NOT NULL DEFAULT 0,
        refused INTEGER NOT NULL DEFAULT 0,
        ignored INTEGER NOT NULL DEFAULT 0,
        delivered INTEGER NOT NULL DEFAULT 0,
        rejected INTEGER NOT NULL DEFAULT 0,
        dropped INTEGER NOT NULL DEFAULT 0,
        changed INTEGER NOT NULL DEFAULT 0,
        told INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (source, day)
    ) WITHOUT ROWID""",
    "CREATE TABLE identity (name TEXT NOT NULL)",
)
"""The tables, for the spool's migrations."""


def day_of(format_: str, body: bytes | str) -> int | None:
    """The day (since 1970) that an encoded record belongs to, None for an item of another format."""
    if format_ != RECORD_FORMAT:
        return None
    raw = body.encode() if isinstance(body, str) else body
    match = _STOP.search(raw) or _START.search(raw)
    return None if match is None else date.fromisoformat(match[1].decode()).toordinal() - _EPOCH


def day_at(now: datetime) -> int:
    """The day of a moment, UTC."""
    return now.astimezone(UTC).toordinal() - _EPOCH


def count_days(db: sqlite3.Connection, source: str, column: str, days: Iterable[int | None], sign: int = 1) -> None:
    """Count one for each of `days` in one of the columns."""
    if column not in _COLUMNS:
        raise ValueError(column)
    counted = Counter(day for day in days if day is not None)
    db.executemany(
        f"INSERT INTO days (source, day, {column}, changed) VALUES (?, ?, ?, 1) ON CONFLICT (source, day) "  # noqa: S608 - a name of our own
        f"DO UPDATE SET {column} = {column} + excluded.{column}, changed = changed + 1",
        [(source, day, sign * number) for day, number in counted.items()],
    )


def changed_days(db: sqlite3.Connection, source: str, limit: int) -> list[tuple[int, DayCount]]:
    """The days whose counts no report has told yet, each with the state of its change."""
    rows = db.execute(
        f"SELECT changed, day, {', '.join(_COLUMNS)} FROM days WHERE source = ? AND changed > told "  # noqa: S608 - constants
        "ORDER BY day LIMIT ?",
        (source, limit),
    ).fetchall()
    return [(changed, DayCount(date.fromordinal(day + _EPOCH), *counts)) for changed, day, *counts in rows]


def days_told(db: sqlite3.Connection, source: str, told: Sequence[tuple[int, DayCount]]) -> None:
    """A report with these days was taken. What changed since then will be told again."""
    db.executemany(
        "UPDATE days SET told = ? WHERE source = ? AND day = ?",
        [(changed, source, count.day.toordinal() - _EPOCH) for changed, count in told],
    )


def identity(db: sqlite3.Connection) -> str:
    """The spool's own name, made when it is first asked for."""
    row = db.execute("SELECT name FROM identity").fetchone()
    if row is not None:
        return str(row[0])
    made = os.urandom(8).hex()
    db.execute("INSERT INTO identity (name) VALUES (?)", (made,))
    return made
