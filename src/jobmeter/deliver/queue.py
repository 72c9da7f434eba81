"""The spool's queue: which entries are due, and what gives way when it is too long or too old."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing

from msgspec import Struct

from jobmeter.deliver.days import count_days, day_of
from jobmeter.deliver.tally import Age, Tally

_ASKED_AT_ONCE = 500
_COLUMNS = "number, source, format, CAST(body AS BLOB), attempts"


class Entry(Struct, frozen=True):
    """Something to deliver. `attempts` counts how often it was taken for delivery before."""

    number: int
    source: str
    format: str
    body: bytes
    attempts: int


def due_entries(db: sqlite3.Connection, now: int, limit: int) -> list[Entry]:
    """At most `limit` entries that wait no longer at `now` (microseconds), those first that have been due longest.

    A wait is over at its end, and also before its begin: then the clock was set back since.
    """
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM entries WHERE wait_until <= ? ORDER BY wait_until, number LIMIT ?",  # noqa: S608 - constant
        (now, limit),
    ).fetchall()
    if len(rows) < limit:
        rows += db.execute(
            f"SELECT {_COLUMNS} FROM entries WHERE wait_until > ? AND wait_from > ?"  # noqa: S608 - constant
            " ORDER BY wait_until, number LIMIT ?",
            (now, now, limit - len(rows)),
        ).fetchall()
    return [Entry(*row) for row in rows]


def next_due(db: sqlite3.Connection, now: int) -> float | None:
    """Seconds until some entry is due: 0 when one is at `now` (microseconds), None when there is no entry."""
    if due_entries(db, now, 1):
        return 0.0
    row = db.execute("SELECT min(wait_until) FROM entries").fetchone()
    return None if row[0] is None else max(0.0, (row[0] - now) / 1_000_000)


def leading_group(entries: Sequence[Entry], limit: int) -> list[Entry]:
    """The first of `entries` that may be sent together: at most `limit`, halved for each attempt any of them had."""
    group: list[Entry] = []
    room = limit
    for entry in entries:
        room = min(room, max(1, limit >> min(entry.attempts, 62)))
        if len(group) >= room:
            break
        group.append(entry)
    return group


def append(db: sqlite3.Connection, tally: Tally, items: Sequence[tuple[str, str, bytes]], age: Age, now: int) -> None:
    """Append entries, each (source, format, body as UTF-8), due at once."""
    db.executemany(
        "INSERT INTO entries (source, format, body, added_age, attempts, wait_from, wait_until)"
        " VALUES (?, ?, CAST(? AS TEXT), ?, 0, ?, ?)",
        [(source, format_, body, age.seconds, now, now) for source, format_, body in items],
    )
    tally.queue(len(items), sum(len(body) for _, _, body in items))


def still_there(db: sqlite3.Connection, numbers: Sequence[int]) -> set[int]:
    """Those of the entries that nobody has taken out."""
    found: set[int] = set()
    for at in range(0, len(numbers), _ASKED_AT_ONCE):
        some = numbers[at : at + _ASKED_AT_ONCE]
        marks = ",".join("?" * len(some))
        found.update(row[0] for row in db.execute(f"SELECT number FROM entries WHERE number IN ({marks})", some))  # noqa: S608 - marks only
    return found


def put_off(db: sqlite3.Connection, seconds: Mapping[int, float], now: int) -> None:
    """Let entries wait for so long from `now` (microseconds) on."""
    db.executemany(
        "UPDATE entries SET wait_from = ?, wait_until = ? WHERE number = ?",
        [(now, now + round(wait * 1_000_000), number) for number, wait in seconds.items()],
    )


def take_out(db: sqlite3.Connection, tally: Tally, entries: Collection[Entry], counter: str) -> None:
    """Take entries out, each of which is there, and count them as `delivered` or `rejected`."""
    db.executemany("DELETE FROM entries WHERE number = ?", [(entry.number,) for entry in entries])
    tally.queue(-len(entries), -sum(len(entry.body) for entry in entries))
    tally.count(counter, len(entries))
    _count_days(db, counter, ((entry.source, entry.format, entry.body) for entry in entries))


def drop_for_room(db: sqlite3.Connection, tally: Tally, excess_bytes: int) -> None:
    """Drop the oldest entries until at least `excess_bytes` are gone or none is left, and count them."""
    doomed: list[tuple[int, int]] = []
    for number, size, _ in _oldest_first(db):
        if excess_bytes <= 0:
            break
        doomed.append((number, size))
        excess_bytes -= size
    _drop(db, tally, doomed, "dropped_size")


def drop_aged(db: sqlite3.Connection, tally: Tally, before_age: int) -> None:
    """Drop the entries that were added before the spool had that age, and count them."""
    doomed: list[tuple[int, int]] = []
    for number, size, added_age in _oldest_first(db):
        # Numbers and ages grow together, so the first one that is young enough ends the search.
        if added_age >= before_age:
            break
        doomed.append((number, size))
    _drop(db, tally, doomed, "dropped_age")


def _oldest_first(db: sqlite3.Connection) -> Iterator[tuple[int, int, int]]:
    with closing(
        db.execute("SELECT number, length(CAST(body AS BLOB)), added_age FROM entries ORDER BY number")
    ) as rows:
        yield from rows


def _drop(db: sqlite3.Connection, tally: Tally, doomed: Sequence[tuple[int, int]], counter: str) -> None:
    if doomed:
        rows = db.execute("SELECT source, format, body FROM entries WHERE number <= ?", (doomed[-1][0],))
        _count_days(db, "dropped", rows)
        db.execute("DELETE FROM entries WHERE number <= ?", (doomed[-1][0],))
        tally.queue(-len(doomed), -sum(size for _, size in doomed))
        tally.count(counter, len(doomed))


def _count_days(db: sqlite3.Connection, column: str, items: Iterable[tuple[str, str, bytes | str]]) -> None:
    """Count items (source, format, body) in a column of their sources' days."""
    by_source: dict[str, list[int | None]] = {}
    for source, kind, body in items:
        by_source.setdefault(source, []).append(day_of(kind, body))
    for source, days in by_source.items():
        count_days(db, source, column, days)
