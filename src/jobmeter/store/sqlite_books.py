"""Changing one record in SQLite."""

from __future__ import annotations

import sqlite3

from jobmeter.store.archive.archive import Archive, recall
from jobmeter.store.archive.ledger import Execute
from jobmeter.store.facet import Numbers, Signature
from jobmeter.store.history import Row
from jobmeter.store.rollup import State, Sums
from jobmeter.store.sqlite_facets import interned
from jobmeter.store.sqlite_reading import executing
from jobmeter.store.sqlite_sums import add_sums, is_pending, note_change


class SqliteBooks:
    """The Books of `history`, on the writer in a transaction."""

    def __init__(self, writer: sqlite3.Connection, archive: Archive, now_us: int) -> None:
        self._writer = writer
        self._archive = archive
        self.execute: Execute = executing(writer)
        self.now_us = now_us

    def row(self, key: str) -> Row | None:
        """See Books."""
        if (found := self._stored(key)) is None:
            recall(self.execute, [*self._archive.held(self.execute, [key]).values()], self.numbers)
            found = self._stored(key)
        return found

    def numbers(self, signature: Signature) -> Numbers:
        """See Books."""
        return interned(self._writer, signature)

    def is_pending(self, seq: int) -> bool:
        """See Books."""
        return is_pending(self._writer, seq)

    def add_sums(self, sums: Sums) -> None:
        """See Books."""
        note_change(self._writer)
        add_sums(self._writer, sums)

    def _stored(self, key: str) -> Row | None:
        found = self._writer.execute(
            "SELECT seq, start_us, stop_us, site, grp, usr, body FROM records WHERE record_id = ?", (key,)
        ).fetchone()
        if found is None:
            return None
        seq, start, stop, site, grp, usr, body = found
        return Row(seq, State(start, stop, site, grp, usr, body.encode()))
