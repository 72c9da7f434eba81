"""A record store in memory that keeps the contract, with switches for the moments that a database cannot answer."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import date

import msgspec

from jobmeter.contract import StoreUnavailable
from jobmeter.model.collection import Collection as Report
from jobmeter.model.collection import CollectorState, Reconciled
from jobmeter.model.letter import DeadLetter
from jobmeter.model.outcome import Stopped, Stored
from jobmeter.model.question import Page, Position, Question, Scope
from jobmeter.model.record import Record, RecordStop
from jobmeter.model.total import Total, TotalQuestion
from jobmeter.model.version import Changed, ChangeKind, Edit, Version
from jobmeter.wire.auditor import encode_record
from tests.plain_totals import plain_totals
from tests.process import PATIENCE_SECONDS

LETTERS_BOUND = 1000


class MemoryLedger:
    """Reports as they came; nothing is compared."""

    def __init__(self) -> None:
        self.reports: list[tuple[Report, int]] = []

    def keep(self, report: Report, now_us: int) -> None:
        self.reports.append((report, now_us))

    def states(self) -> list[CollectorState]:
        return []

    def reconciled(self, since: date, until: date, *, look_up: bool = True) -> list[Reconciled]:  # noqa: ARG002
        return []


class MemoryCounts:
    """Counts made when they are asked for."""

    def __init__(self, store: MemoryStore) -> None:
        self.keys: set[str] = set()
        self._store = store

    def choose(self, keys: Collection[str]) -> None:
        self.keys = {*keys}

    def of(self, key: str) -> dict[str, int] | None:
        return self._store.counts(key) if key in self.keys else None


class MemoryStore:
    """All records in a dict. `away` makes every call fail; `gate` holds writes back until it is set."""

    def __init__(self, *, chunk_records: int = 100) -> None:
        self.records: dict[str, Record] = {}
        self.kept: dict[str, list[Version]] = {}
        self.buried: deque[DeadLetter] = deque(maxlen=LETTERS_BOUND)
        self.away = False
        self.gate = threading.Event()
        self.gate.set()
        self.groups: list[int] = []
        self.breaks_after: int | None = None
        self.poison: str | None = None
        self.opened = 0
        self.released = threading.Event()
        self.numbers = 0
        self._chunk_records = chunk_records
        self.ledger = MemoryLedger()
        self.counted = MemoryCounts(self)
        self._lock = threading.Lock()

    def clear(self) -> None:
        """Forget everything, and answer again."""
        self.records.clear()
        self.buried.clear()
        self.groups.clear()
        self.away = False

    def _answer(self) -> None:
        if self.away:
            raise StoreUnavailable("the database is away")

    def put(self, records: Sequence[Record]) -> list[Stored]:
        self.gate.wait(PATIENCE_SECONDS)
        self._answer()
        if any(record.record_id == self.poison for record in records):
            raise RuntimeError("a fault of the store")
        with self._lock:
            self.groups.append(len(records))
            return [self._put(record) for record in records]

    def _put(self, record: Record) -> Stored:
        known = self.records.setdefault(record.record_id, record)
        if known is record:
            return Stored.NEW
        return Stored.SAME if encode_record(known) == encode_record(record) else Stored.CONFLICT

    def stop(self, stops: Sequence[RecordStop]) -> list[Stopped]:
        self.gate.wait(PATIENCE_SECONDS)
        self._answer()
        with self._lock:
            return [self._stop(stop) for stop in stops]

    def _stop(self, stop: RecordStop) -> Stopped:
        known = self.records.get(stop.record_id)
        if known is None:
            return Stopped.UNKNOWN
        if stop.stop_time < known.start_time:
            return Stopped.BEFORE_START
        self.records[stop.record_id] = msgspec.structs.replace(known, stop_time=stop.stop_time)
        return Stopped.DONE

    def one(self, record_id: str, scope: Scope, as_of_us: int | None = None) -> bytes | None:
        self._answer()
        del scope, as_of_us
        record = self.records.get(record_id)
        return None if record is None else encode_record(record)

    def stream(self, question: Question) -> Iterator[bytes]:
        self._answer()
        self.opened += 1
        self.released.clear()
        with self._lock:
            lines = [
                encode_record(record) + b"\n"
                for record in self.records.values()
                if question.record_id in (None, record.record_id)
            ]
        return self._chunks(lines[: question.limit])

    def _chunks(self, lines: list[bytes]) -> Iterator[bytes]:
        try:
            for number, at in enumerate(range(0, len(lines), self._chunk_records)):
                if number == self.breaks_after:
                    raise StoreUnavailable("the database went away in the middle")
                yield b"".join(lines[at : at + self._chunk_records])
        finally:
            self.released.set()

    def totals(self, question: TotalQuestion) -> list[Total]:
        self._answer()
        return plain_totals(list(self.records.values()), question)

    def page(self, question: Question, bytes_max: int) -> Page:
        self._answer()
        after = -1 if question.after is None else question.after.seq
        with self._lock:
            numbered = [(seq, record) for seq, record in enumerate(self.records.values()) if seq > after]
        bodies: list[bytes] = []
        for seq, record in numbered:
            if question.record_id not in (None, record.record_id):
                continue
            if len(bodies) == question.limit or sum(map(len, bodies)) >= bytes_max:
                return Page(bodies, Position(0, seq - 1))
            bodies.append(encode_record(record))
        return Page(bodies, None)

    def correct(self, record: Record, edit: Edit) -> Changed:
        return self._change(record.record_id, record, ChangeKind.CORRECTED, edit)

    def amend(self, record_ids: Sequence[str], change: Callable[[Record], Record], edit: Edit) -> list[Changed]:
        held = [self.records.get(record_id) for record_id in record_ids]
        return [Changed.UNKNOWN if one is None else self.correct(change(one), edit) for one in held]

    def withdraw(self, record_id: str, edit: Edit) -> Changed:
        return self._change(record_id, None, ChangeKind.WITHDRAWN, edit)

    def _change(self, record_id: str, record: Record | None, kind: ChangeKind, edit: Edit) -> Changed:
        self._answer()
        with self._lock:
            before = self.records.pop(record_id, None)
            if before is None:
                return Changed.UNKNOWN
            if record is not None:
                self.records[record_id] = record
            kept = self.kept.setdefault(record_id, [])
            kept.append(Version(len(kept) + 1, encode_record(before), kind, edit))
        return Changed.DONE

    def versions(self, record_id: str) -> list[Version]:
        self._answer()
        return self.kept.get(record_id, [])

    def check_versions(self) -> list[str]:
        return []

    def fold(self, batches_max: int = 200) -> int:
        del batches_max
        self._answer()
        return 0

    def behind(self) -> int:
        return 0

    def check_rollups(self) -> list[str]:
        return []

    def rebuild_rollups(self) -> None:
        self._answer()

    def bury(self, letters: Sequence[DeadLetter]) -> None:
        self._answer()
        for letter in letters:
            self.numbers += 1
            self.buried.appendleft(msgspec.structs.replace(letter, number=self.numbers))

    def letters(self, limit: int) -> list[DeadLetter]:
        self._answer()
        return list(self.buried)[:limit]

    def letters_evicted(self) -> int:
        self._answer()
        return 3

    def counts(self, facet: str | None = None) -> dict[str, int]:
        self._answer()
        if facet is None:
            return {"": len(self.records)}
        counts: dict[str, int] = {}
        for record in self.records.values():
            for value in (record.meta or {}).get(facet, ()):
                counts[value] = counts.get(value, 0) + 1
        return counts

    def ping(self) -> None:
        self._answer()

    def close(self) -> None:
        pass
