"""Reads that are one answer: the health check, one record by its id, the metrics, a document."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar
from urllib.parse import unquote_to_bytes

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from jobmeter.contract import Clock, RecordStore, StoreUnavailable
from jobmeter.model.record import name_fault
from jobmeter.query.fault import BadQuery
from jobmeter.query.parse import parse_instant
from jobmeter.serve.answer import JSON, Problem, Receive, Scope, Send, send_bytes, send_done, send_json
from jobmeter.serve.asker import asker_of
from jobmeter.serve.instant import check_instant
from jobmeter.serve.meter import Meter
from jobmeter.serve.refusing import problem_of

READERS = 8
PING_SECONDS = 2.0
"""AUDITOR's health check waits this long for its database."""
RECORD_PREFIX = b"/record/"

_AUDITOR_FAULT = Problem("A database error was encountered while trying to get a record from the database")

P = ParamSpec("P")
T = TypeVar("T")


class Readers:
    """Threads that ask the record store short questions."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(READERS, "jobmeter-reader")

    async def ask(self, question: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The store's answer. Raises what the store raises."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: question(*args, **kwargs))

    def close(self) -> None:
        """Take no more questions; those in progress are finished in their threads."""
        self._threads.shutdown(wait=False)


class HealthCheck:
    """`GET /health_check`: 200 while the database answers, else 500, both with an empty body."""

    def __init__(self, store: RecordStore, readers: Readers) -> None:
        self._store = store
        self._readers = readers
        self._asking: asyncio.Task[bool] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> int:
        """Ask the database. Requests that come while one question is open share its answer."""
        del scope, receive
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        done, _ = await asyncio.wait([self._asking], timeout=PING_SECONDS)
        if done and self._asking.result():
            return await send_done(send)
        return await send_bytes(send, 500, b"")

    async def _ask(self) -> bool:
        try:
            await self._readers.ask(self._store.ping)
        except StoreUnavailable:
            return False
        return True


class OneRecord:
    """`GET /record/{record_id}`; the last segment is percent-decoded as a whole, so `%2F` is a slash of the id."""

    def __init__(self, store: RecordStore, readers: Readers, clock: Clock, *, as_auditor: bool) -> None:
        self._store = store
        self._clock = clock
        self._readers = readers
        self._as_auditor = as_auditor

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> int:
        """Answer with the record, or say that there is none."""
        del receive
        record_id = requested_id(scope)
        fault = "is not UTF-8 text" if record_id is None else name_fault(record_id)
        if record_id is None or fault is not None:
            if self._as_auditor:
                return await send_bytes(send, 200, b"null", JSON)
            return await send_json(send, 400, Problem(f"record_id: {fault}", "record_id", fault))
        try:
            as_of_us = parse_instant(scope["query_string"])
            check_instant(as_of_us, self._clock)
            found = await self._readers.ask(self._store.one, record_id, asker_of(scope).scope, as_of_us)
        except BadQuery as asked:
            return await send_json(send, 400, problem_of(asked))
        except StoreUnavailable as unavailable:
            return await send_json(send, 500, _AUDITOR_FAULT if self._as_auditor else Problem(str(unavailable)))
        if found is not None:
            return await send_bytes(send, 200, found, JSON)
        if self._as_auditor:
            return await send_json(send, 500, _AUDITOR_FAULT)
        return await send_json(send, 404, Problem("there is no record with this record_id", record_id=record_id))


def requested_id(scope: Scope) -> str | None:
    """The record id that the path names, or None when it is not UTF-8."""
    raw: bytes = scope["raw_path"]
    try:
        return unquote_to_bytes(raw.removeprefix(RECORD_PREFIX)).decode()
    except UnicodeDecodeError:
        return None


class Metrics:
    """`GET /metrics`."""

    def __init__(self, meter: Meter, readers: Readers) -> None:
        self._meter = meter
        self._readers = readers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> int:
        """The counters of this server as Prometheus text."""
        del scope, receive
        text = await self._readers.ask(self._meter.exposition)
        return await send_bytes(send, 200, text, CONTENT_TYPE_PLAIN_0_0_4.encode())


class Fixed:
    """A JSON document that never changes."""

    def __init__(self, document: bytes) -> None:
        self._document = document

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> int:
        """The document."""
        del scope, receive
        return await send_bytes(send, 200, self._document, JSON)
