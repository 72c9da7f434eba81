"""Counts by chosen meta keys in PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

from jobmeter.store.archive.archive import Archive
from jobmeter.store.archive.ledger import Execute
from jobmeter.store.kept_counts import KeptCounts, Word
from jobmeter.store.postgresql_reading import executing
from jobmeter.store.postgresql_sums import PostgresqlSource, batches, note_change
from jobmeter.store.session import Connection, answering

Lend = Callable[[], AbstractContextManager[Connection]]


def counts_in(writing: Lend, reading: Lend, archive: Archive) -> KeptCounts:
    """The counts of the database that both lend connections to."""

    @contextmanager
    def counting() -> Iterator[Execute]:
        with answering(), writing() as writer, writer.transaction():
            note_change(writer)
            yield executing(writer)

    @contextmanager
    def view() -> Iterator[PostgresqlView]:
        with answering(), reading() as reader, reader.transaction():
            yield PostgresqlView(reader, archive)

    return KeptCounts(counting, view)


class PostgresqlView:
    """The View of `kept_counts`, on a connection in a transaction."""

    def __init__(self, reader: Connection, archive: Archive) -> None:
        self._source = PostgresqlSource(reader)
        self._pending = batches(reader, None)
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
