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

_COLUMNS = 8
_INSERT = """INSERT INTO records (start_us, stop_us, site, grp, usr, record_id, core, since_us) VALUES {}
    ON CONFLICT (record_id) DO NOTHING"""
_ROW_COUNTS = (2000, 1000, 500, 50, 1)
"""A statement adds as many rows, so that a bulk takes few: the lock of the interpreter, which other threads want, is
given up in each and asked for again after it. 2,000 rows have half as many parameters as a statement may. A few rows
take less of the processor one by one: measured for 40, 19 us each, and 27 by statements of 32 and 8."""
_INSERTS = MappingProxyType(
    {count: _INSERT.format(", ".join(["(?, ?, ?, ?, ?, ?, ?, ?)"] * count)) for count in _ROW_COUNTS}
)


def insert(writer: sqlite3.Connection, batch: Batch, numbers: Mapping[Signature, Numbers], now_us: int) -> int:
    """Add the records whose ids are not there yet, in order, stored since `now_us`; how many."""
    values: list[Any] = []
    for start, stop, facets, key, core in zip(
        batch.starts, batch.stops, batch.facets, batch.keys, batch.cores, strict=True
    ):
        values += (start, stop, *numbers[facets], key, core.decode(), now_us)
    added = done = 0
    for count, statement in _INSERTS.items():
        while len(values) - done >= count * _COLUMNS:
            end = done + count * _COLUMNS
            added += writer.execute(statement, values[done:end]).rowcount
            done = end
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
