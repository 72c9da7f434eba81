"""Moving records between PostgreSQL and the archive: one process at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

import psycopg

from jobmeter.store.archive.archive import Archive
from jobmeter.store.archive.shelf import ArchiveBusy, Session, Shelf
from jobmeter.store.pool import Pool
from jobmeter.store.postgresql_reading import session_of
from jobmeter.store.postgresql_sums import fold_alone
from jobmeter.store.rollup import FOLD_BATCHES
from jobmeter.store.session import Connection, answering, connect

_ARCHIVING = 0x6A6F6261
"""The advisory lock that keeps two movers of records apart."""


@contextmanager
def shelf(url: str, archive: Archive, readers: Pool[Connection], writers: Pool[Connection]) -> Iterator[Shelf]:
    """The right to move records; a connection of its own holds it. Raises ArchiveBusy when another process has it."""

    @contextmanager
    def view() -> Iterator[Session]:
        with answering(), readers.lend() as reader:
            yield session_of(reader)
            reader.rollback()

    @contextmanager
    def change() -> Iterator[Session]:
        with answering(), writers.lend() as writer, writer.transaction():
            writer.execute("SET LOCAL statement_timeout = 0")
            while fold_alone(writer, FOLD_BATCHES):
                pass  # what leaves the database must be in the rollups
            yield session_of(writer)

    with answering(), closing(connect(url, reading=False)) as holder:
        if holder.execute("SELECT pg_try_advisory_lock(%s)", (_ARCHIVING,)).fetchone() != (True,):
            raise ArchiveBusy("another process is moving records to or from the archive")
        try:
            yield Shelf(archive, view, change)
        finally:
            # PostgreSQL notices the end of a connection some time later, and the lock is free only then.
            with suppress(psycopg.Error):
                holder.execute("SELECT pg_advisory_unlock(%s)", (_ARCHIVING,))
