"""Changing one record in PostgreSQL."""

from __future__ import annotations

from jobmeter.store.archive.archive import Archive, recall
from jobmeter.store.archive.ledger import Execute
from jobmeter.store.facet import Numbers, Signature
from jobmeter.store.history import Row
from jobmeter.store.postgresql_facets import intern
from jobmeter.store.postgresql_reading import executing
from jobmeter.store.postgresql_sums import add_sums, pending_among
from jobmeter.store.rollup import State, Sums
from jobmeter.store.session import Connection


class PostgresqlBooks:
    """The Books of `history`, on a writer in a transaction that has noted its change."""

    def __init__(self, writer: Connection, archive: Archive, now_us: int) -> None:
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
        return intern(self._writer, [signature])[signature]

    def is_pending(self, seq: int) -> bool:
        """See Books."""
        return seq in pending_among(self._writer, [seq])

    def add_sums(self, sums: Sums) -> None:
        """See Books."""
        add_sums(self._writer, sums)

    def _stored(self, key: str) -> Row | None:
        found = self._writer.execute(
            "SELECT seq, start_us, stop_us, site, grp, usr, records.body FROM records WHERE record_id = %s FOR UPDATE",
            (key,),
        ).fetchone()
        if found is None:
            return None
        seq, start, stop, site, grp, usr, body = found
        return Row(seq, State(start, stop, site, grp, usr, body.encode()))
