"""Rows of records in SQLite: adding, and finding by id."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from jobmeter.store.facet import Numbers, Signature
from jobmeter.store.row import Batch

_KEYS_AT_ONCE = 500
"""Parameters of one statement; an old SQLite takes 999."""

_INSERT = """INSERT INTO records (start_us, stop_us, site, grp, usr, record_id, core, since_us) VALUES {}
    ON CONFLICT (record_id) DO NOTHING"""
_INSERTS = MappingProxyType(
    {count: _INSERT.format(", ".join(["(?, ?, ?, ?, ?, ?, ?, ?)"] * count)) for count in (500, 50, 1)}
)
"""Statements for so many rows. Many at once, so that other threads run meanwhile: the lock of the interpreter, given up
and asked for again at each row, would have to be waited for at each row."""


def insert(writer: sqlite3.Connection, batch: Batch, numbers: Mapping[Signature, Numbers], now_us: int) -> int:
    """Add the records whose ids are not there yet, in order, stored since `now_us`; how many."""
    rows = [
        (start, stop, *numbers[facets], key, core.decode(), now_us)
        for start, stop, facets, key, core in zip(
            batch.starts, batch.stops, batch.facets, batch.keys, batch.cores, strict=True
        )
    ]
    added = done = 0
    for count, statement in _INSERTS.items():
        while len(rows) - done >= count:
            added += writer.execute(statement, [value for row in rows[done : done + count] for value in row]).rowcount
            done += count
    return added


def rows_of(writer: sqlite3.Connection, keys: Iterable[str]) -> Iterator[tuple[Any, ...]]:
    """Key, seq, start_us and body of those `keys` that are stored."""
    rest = list(keys)
    while rest:
        some, rest = rest[:_KEYS_AT_ONCE], rest[_KEYS_AT_ONCE:]
        marks = ", ".join("?" * len(some))
        yield from writer.execute(
            f"SELECT record_id, seq, start_us, body FROM records WHERE record_id IN ({marks})",  # noqa: S608 - marks
            some,
        )
