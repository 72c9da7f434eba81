"""Group commit: all writes that wait are stored in one transaction while the next ones gather.

One worker thread writes. Within a group records come before stop times and these before dead letters, and groups follow
one another, so a connection that sends a PUT after its POST was acknowledged finds the record there.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Any, Protocol, TypeVar

from jobmeter.contract import DocumentStore, RecordStore, StoreUnavailable
from jobmeter.keeping import ConflictStore, NamedRecord, SummaryStore
from jobmeter.model.conflict import Conflict
from jobmeter.model.facility import Received
from jobmeter.model.letter import DeadLetter
from jobmeter.model.outcome import THERE, Stopped, Stored
from jobmeter.model.record import Record, RecordStop, microseconds
from jobmeter.serve.meter import Meter
from jobmeter.serve.settings import Limits

log = logging.getLogger("jobmeter.serve")

ROOM_SECONDS = 10.0
"""How long a write waits for room before it is given up."""
FAILURES_MAX = 3
"""After this many writes of a group that fail one by one the rest of the group is given up."""

T = TypeVar("T")
Answer = list[Any] | StoreUnavailable


class _Write:
    """One request's part of a group: what to write, and where its answer goes."""

    __slots__ = ("answer", "items", "kind")

    def __init__(self, kind: int, items: Sequence[Any], answer: asyncio.Future[Any]) -> None:
        self.kind = kind
        self.items = items
        self.answer = answer


_RECORDS, _STOPS, _LETTERS, _DOCUMENTS, _CONFLICTS = range(5)


class Hearing(Protocol):
    """Somebody who wants to know what was stored. Called in the event loop."""

    def records(self, records: Iterable[Record]) -> None:
        """These records are there."""
        ...

    def stops(self, stops: Iterable[RecordStop]) -> None:
        """These records have a stop time."""
        ...


class Writer:
    """Takes writes from many requests and stores them in groups. All methods belong to one event loop."""

    def __init__(
        self,
        store: RecordStore,
        limits: Limits,
        meter: Meter,
        documents: DocumentStore | None = None,
        conflicts: ConflictStore | None = None,
    ) -> None:
        self._store = store
        self._conflicts = conflicts
        self._limits = limits
        self._meter = meter
        self._documents = documents
        self.names: SummaryStore | None = None
        """Where it is kept which records are of which jobs."""
        self.heard: Hearing | None = None
        """Who is told of what was stored."""
        self._waiting: deque[_Write] = deque()
        self._waiting_count = 0
        self.taken = 0
        """How many records, stop times and letters have been taken to be written, ever."""
        self._arrived = asyncio.Event()
        self._room = asyncio.Condition()
        self._room_wanted = 0
        self._open = True
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = ThreadPoolExecutor(1, "jobmeter-writer")

    async def put(self, records: Sequence[Record]) -> list[Stored]:
        """What the store did with each record, once that is durable. Raises StoreUnavailable."""
        stored: list[Stored] = await self._ask(_RECORDS, records)
        if self.heard is not None:
            self.heard.records(record for record, one in zip(records, stored, strict=True) if one in THERE)
        return stored

    async def stop(self, stops: Sequence[RecordStop]) -> list[Stopped]:
        """What the store did with each stop time, once that is durable. Raises StoreUnavailable."""
        stopped: list[Stopped] = await self._ask(_STOPS, stops)
        if self.heard is not None:
            self.heard.stops(stop for stop, one in zip(stops, stopped, strict=True) if one is Stopped.DONE)
        return stopped

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        """Keep dead letters; returns once they are durable. Raises StoreUnavailable."""
        await self._ask(_LETTERS, letters)
        self._meter.letters.inc(len(letters))

    async def keep(self, documents: Sequence[Received]) -> None:
        """Keep facility documents; returns once they are durable. Raises StoreUnavailable."""
        await self._ask(_DOCUMENTS, documents)

    @property
    def keeps_conflicts(self) -> bool:
        """Whether there is a place for conflicts."""
        return self._conflicts is not None

    async def dispute(self, conflicts: Sequence[Conflict]) -> None:
        """Keep conflicts; returns once they are durable. Raises StoreUnavailable."""
        if self._conflicts is not None:
            await self._ask(_CONFLICTS, conflicts)

    async def run(self) -> None:
        """Write group after group, until `close` was called and nothing waits any more."""
        self._loop = loop = asyncio.get_running_loop()
        while self._open or self._waiting:
            if not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
                continue
            group = self._take()
            answers = await loop.run_in_executor(self._thread, self._write, group)
            for write, answer in zip(group, answers, strict=True):
                _deliver(write.answer, answer)
            if self._room_wanted:
                async with self._room:
                    self._room.notify_all()
        self._thread.shutdown(wait=True)

    def close(self) -> None:
        """Refuse further writes; `run` returns when those that wait are written."""
        self._open = False
        self._arrived.set()

    async def _ask(self, kind: int, items: Sequence[Any]) -> Any:
        if self._waiting_count >= self._limits.waiting_records:
            await self._wait_for_room()
        if not self._open or self._loop is None:
            raise StoreUnavailable("the server is stopping")
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._waiting.append(_Write(kind, items, answer))
        self._waiting_count += len(items)
        self._arrived.set()
        return await answer

    async def _wait_for_room(self) -> None:
        self._room_wanted += 1
        try:
            async with asyncio.timeout(ROOM_SECONDS), self._room:
                await self._room.wait_for(lambda: self._waiting_count < self._limits.waiting_records)
        except TimeoutError:
            raise StoreUnavailable("too many records wait to be written") from None
        finally:
            self._room_wanted -= 1

    def _take(self) -> list[_Write]:
        group = [self._waiting.popleft()]
        count = len(group[0].items)
        while self._waiting and count + len(self._waiting[0].items) <= self._limits.group_records:
            write = self._waiting.popleft()
            count += len(write.items)
            group.append(write)
        self._waiting_count -= count
        self.taken += count
        return group

    def _write(self, group: list[_Write]) -> list[Answer]:
        """The answer to each write of the group. Runs in the worker thread."""
        began = perf_counter()
        store = self._store
        answers: dict[int, Answer] = {}
        acts: list[tuple[int, Callable[[Sequence[Any]], list[Any]]]] = [
            (_RECORDS, self._put), (_STOPS, store.stop), (_LETTERS, _none_each(store.bury)),
        ]  # fmt: skip
        if self._documents is not None:
            acts.append((_DOCUMENTS, _none_each(self._documents.keep)))
        if self._conflicts is not None:
            acts.append((_CONFLICTS, _none_each(self._conflicts.keep)))
        for kind, act in acts:
            writes = [write for write in group if write.kind == kind]
            if writes:
                answers.update(zip(map(id, writes), _together(writes, act), strict=True))
        self._meter.write_seconds.observe(perf_counter() - began)
        self._meter.group_records.observe(sum(len(write.items) for write in group))
        return [answers[id(write)] for write in group]

    def _put(self, records: Sequence[Record]) -> list[Stored]:
        """Store records, and then which jobs they are of: who is answered for one is answered for both."""
        stored = self._store.put(records)
        if self.names is not None:
            named = [
                NamedRecord(record.job_identity, record.record_id, microseconds(record.stop_time or record.start_time))
                for record, one in zip(records, stored, strict=True)
                if record.job_identity is not None and one in THERE
            ]
            if named:
                self.names.name_records(named)
        return stored


def _none_each(act: Callable[[Sequence[T]], None]) -> Callable[[Sequence[T]], list[None]]:
    def acted(items: Sequence[T]) -> list[None]:
        act(items)
        return [None] * len(items)

    return acted


def _together(writes: list[_Write], act: Callable[[Sequence[Any]], list[Any]]) -> list[Answer]:
    items = writes[0].items if len(writes) == 1 else [item for write in writes for item in write.items]
    try:
        results = act(items)
    except StoreUnavailable as fault:
        return [fault] * len(writes)
    except Exception:  # a supervisor loop: requests that share a group must not share the fault of one
        if len(writes) > 1:
            log.warning("writer.group_failed writes=%d", len(writes))
            return _one_by_one(writes, act)
        log.exception("writer.write_failed records=%d", len(items))
        return [StoreUnavailable("the store failed on this write")]
    answers: list[Answer] = []
    at = 0
    for write in writes:
        answers.append(results[at : at + len(write.items)])
        at += len(write.items)
    return answers


def _one_by_one(writes: list[_Write], act: Callable[[Sequence[Any]], list[Any]]) -> list[Answer]:
    answers: list[Answer] = []
    failures = 0
    for write in writes:
        if failures >= FAILURES_MAX:
            answers.append(StoreUnavailable("the store failed on other writes of this group"))
            continue
        answers += _together([write], act)
        failures += isinstance(answers[-1], StoreUnavailable)
    return answers


def _deliver(future: asyncio.Future[Any], answer: Answer) -> None:
    if future.done():
        return
    if isinstance(answer, StoreUnavailable):
        future.set_exception(StoreUnavailable(*answer.args))
    else:
        future.set_result(answer)
