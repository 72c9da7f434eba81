"""Counts by chosen meta keys in PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial

from jobmeter.store.archive.archive import Archive
from jobmeter.store.archive.ledger import Execute
from jobmeter.store.kept_counts import KeptCounts, View
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
    def view() -> Iterator[View]:
        with answering(), reading() as reader, reader.transaction():
            waiting = batches(reader, None)
            pending = waiting.condition() if waiting.numbers else None
            execute = executing(reader)
            yield View(execute, PostgresqlSource(reader), pending, partial(archive.words, execute))

    return KeptCounts(counting, view)
