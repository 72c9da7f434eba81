"""Counts by chosen meta keys in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial

from jobmeter.store.archive.archive import Archive
from jobmeter.store.archive.ledger import Execute
from jobmeter.store.kept_counts import KeptCounts, View
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
    def view() -> Iterator[View]:
        with answering(), reading() as reader, snapshot(reader):
            waiting = batches(reader, -1)
            pending = waiting.condition() if waiting.numbers else None
            execute = executing(reader)
            yield View(execute, SqliteSource(reader), pending, partial(archive.words, execute))

    return KeptCounts(counting, view)
