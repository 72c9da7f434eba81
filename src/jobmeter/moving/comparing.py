"""Whether our store holds what an AUDITOR database holds: record by record, and in sums per month and site.

The source's sums are worked out by its database, ours from the records as our store gives them back: two ways that
share no code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal

from msgspec import Struct

from jobmeter.contract import RecordStore
from jobmeter.model.question import Column, Order, Question, Scope
from jobmeter.model.record import Record
from jobmeter.moving.source import Place, Row, Snapshot, Sums
from jobmeter.moving.transfer import batches, judged
from jobmeter.wire.auditor import decode_record, decode_records

_ORDERED_BYTES = 1024
"""Ids up to this length come from a store in byte order; the few longer ones are looked up one by one."""
_AT_ONCE = 1000
_ALL = Scope.everything()


class Line(Struct, frozen=True):
    """One month and site: what the source has, what is stored with equal content, and what is not, by cause."""

    place: Place
    source: Sums
    stored: Sums
    dead: Sums
    different: Sums
    missing: Sums

    @property
    def balanced(self) -> bool:
        """Whether everything that can be stored is stored, and the sums agree."""
        return self.source == self.stored.plus(self.dead) and not self.different.records and not self.missing.records


class Comparison(Struct, frozen=True):
    """All months and sites, and the rows that are not stored: bad ones, changed ones, missing ones."""

    lines: tuple[Line, ...]
    dead: tuple[int, ...]
    different: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def total(self) -> Line:
        """All lines together."""
        columns = ("source", "stored", "dead", "different", "missing")
        return Line(Place("all", ""), *(_sum([getattr(line, name) for line in self.lines]) for name in columns))

    @property
    def equal(self) -> bool:
        """Whether every line is balanced."""
        return all(line.balanced for line in self.lines)


def compare(snapshot: Snapshot, store: RecordStore, progress: Callable[[int], None]) -> Comparison:
    """Compare all that the snapshot holds. Raises SourceAway, StoreUnavailable."""
    merge = _Merge(store)
    stored: dict[Place, list[int]] = {}
    apart: dict[str, list[tuple[int, str]]] = {"dead": [], "different": [], "missing": []}
    number = 0
    for rows in batches(snapshot.rows_by_record_id(), _AT_ONCE):
        for row, record in zip(rows, judged(rows), strict=True):
            held = merge.held(record.record_id) if isinstance(record, Record) else None
            if held is not None and held == record:
                _add(stored.setdefault(place_of(held), [0, 0, 0]), held)
            else:
                cause, name = _cause(row, record, held)
                apart[cause].append((row.id, name))
        number += len(rows)
        progress(number)
    merge.close()
    columns = [snapshot.sums([number for number, _ in apart[cause]]) for cause in apart]
    ours = {place: Sums(number, components, Decimal(amount)) for place, (number, components, amount) in stored.items()}
    source = snapshot.sums()
    none = Sums()
    lines = tuple(
        Line(place, source.get(place, none), ours.get(place, none), *(column.get(place, none) for column in columns))
        for place in sorted(source.keys() | ours.keys())
    )
    names = {cause: tuple(name for _, name in found) for cause, found in apart.items()}
    return Comparison(lines, tuple(number for number, _ in apart["dead"]), names["different"], names["missing"])


def _cause(row: Row, record: object, held: Record | None) -> tuple[str, str]:
    if not isinstance(record, Record):
        return "dead", str(row.id)
    return ("missing" if held is None else "different"), record.record_id


class _Merge:
    """Our store's records beside ids that are asked for in byte order."""

    def __init__(self, store: RecordStore) -> None:
        self._store = store
        self._stream = store.stream(Question(_ALL, order=Order(Column.RECORD_ID)))
        self._records = self._decoded()
        self._next = next(self._records, None)

    def held(self, record_id: str) -> Record | None:
        """The stored record, or None. Ids come in byte order."""
        if _is_long(record_id):
            body = self._store.one(record_id, _ALL)
            return None if body is None else decode_record(body)
        # The order of code points is that of their bytes in UTF-8.
        while self._next is not None and self._next.record_id < record_id:
            self._next = next(self._records, None)
        return self._next if self._next is not None and self._next.record_id == record_id else None

    def close(self) -> None:
        """Leave early: what stands behind the last id is of no interest."""
        close = getattr(self._stream, "close", None)
        if close is not None:
            close()

    def _decoded(self) -> Iterator[Record]:
        for chunk in self._stream:
            found = decode_records(b"[" + chunk.rstrip(b"\n").replace(b"\n", b",") + b"]")
            for record in found:
                if isinstance(record, Record) and not _is_long(record.record_id):
                    yield record


def _is_long(record_id: str) -> bool:
    return len(record_id) * 4 > _ORDERED_BYTES and len(record_id.encode()) > _ORDERED_BYTES


def place_of(record: Record) -> Place:
    """Where a record is added up: as `statements` has it."""
    meta = record.meta or {}
    site = (meta.get("site_id") or meta.get("site") or ("",))[0]
    stop = record.stop_time
    return Place("running" if stop is None else f"{stop.year:04}-{stop.month:02}", site)


def _add(sums: list[int], record: Record) -> None:
    sums[0] += 1
    for component in record.components:
        sums[1] += 1
        sums[2] += component.amount


def _sum(items: Sequence[Sums]) -> Sums:
    total = Sums()
    for item in items:
        total = total.plus(item)
    return total
