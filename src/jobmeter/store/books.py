"""The writer's transaction of a store, as far as changing one record needs it."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct
from sqlalchemy import select

from jobmeter.store.archive.archive import Archive, recall
from jobmeter.store.archive.ledger import Execute
from jobmeter.store.facet import Numbers, Signature
from jobmeter.store.rollup import State, Sums
from jobmeter.store.tables import records

_COLUMNS = tuple(records.c[name] for name in ("seq", "start_us", "stop_us", "site", "grp", "usr", "body"))


class Row(Struct, frozen=True):
    """A stored record, whole."""

    seq: int
    state: State


class Books(Struct, frozen=True):
    """What either database lends. The change has been noted (`note_change`), so that nobody else changes records.

    `now_us` is the moment of the change, unless the change says its own; `numbers` gives facet columns, `is_pending`
    tells whether a record is in no rollup yet, `add_sums` adds to the rollups.
    """

    execute: Execute
    archive: Archive
    now_us: int
    numbers: Callable[[Signature], Numbers]
    is_pending: Callable[[int], bool]
    add_sums: Callable[[Sums], None]

    def row(self, key: str) -> Row | None:
        """The record, kept from others until the transaction ends, back from the archive if need be; or None."""
        if (found := self._stored(key)) is None:
            recall(self.execute, [*self.archive.held(self.execute, [key]).values()], self.numbers)
            found = self._stored(key)
        return found

    def _stored(self, key: str) -> Row | None:
        # SQLite, with one writer at a time, leaves out that the row is locked.
        for seq, start, stop, site, grp, usr, body in self.execute(
            select(*_COLUMNS).where(records.c.record_id == key).with_for_update()
        ):
            return Row(seq, State(start, stop, site, grp, usr, body.encode()))
        return None
