"""Counts by chosen meta keys in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

from jobmeter.store.archive.archive import Archive
from jobmeter.store.archive.ledger import Execute
from jobmeter.store.kept_counts import KeptCounts, Word
from jobmeter.store.sqlite_reading import executing, snapshot
from jobmeter.store.sqlite_session import answering
from jobmeter.store.sqlite_sums import SqliteSource, batches, note_change

Lend = Callable[[], AbstractContextManager[sqlite3.Connection]]


def counts_in(writing: Lend, reading: Lend, archive: Archive) -> KeptCounts:
    """The counts of the database that both lend connections to; `writing` lends one in a transaction."""

    @contextmanager
    def counting() -> Iterator[Execute]:
        with writing() as writer:
            note_change(writer)
            yield executing(writer)

    @contextmanager
    def view() -> Iterator[SqliteView]:
        with answering(), reading() as reader, snapshot(reader):
            yield SqliteView(reader, archive)

    return KeptCounts(counting, view)


class SqliteView:
    """The View of `kept_counts`, on a connection in a transaction."""

    def __init__(self, reader: sqlite3.Connection, archive: Archive) -> None:
        self._source = SqliteSource(reader)
        self._pending = batches(reader, -1)
        self._archive = archive
        self.execute = executing(reader)

    def bodies(self) -> Iterable[bytes]:
        """See View."""
        return self._source.bodies(None)

    def pending_bodies(self) -> Iterable[bytes]:
        """See View."""
        return self._source.bodies(self._pending.condition()) if self._pending.numbers else ()

    def archived(self, keys: Collection[str]) -> Mapping[Word, int]:
        """See View."""
        return self._archive.words(self.execute, keys)
