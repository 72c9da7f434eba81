"""`GET /records`, and what answers of any length are made of: flat memory.

Each answer has a thread of its own, because a store's iterator may be bound to the thread that made it. The thread is
one piece ahead of the network and never more, so a reader that stops reading holds two pieces and no more. What can
fail is done before the first byte; a fault after that resets the connection instead of ending the body.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from jobmeter.contract import Clock, RecordStore, StoreUnavailable
from jobmeter.model.question import Question
from jobmeter.query.parse import BadQuery, parse_question
from jobmeter.serve.answer import UNANSWERED, Problem, Receive, Scope, Send, send_away, send_json
from jobmeter.serve.asker import asker_of
from jobmeter.serve.framing import Framing, framing_for
from jobmeter.serve.instant import check_instant
from jobmeter.serve.meter import Meter
from jobmeter.serve.protocol import break_off
from jobmeter.serve.settings import Limits

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger("jobmeter.serve")

PIECE_BYTES = 131_072
"""Small chunks of a store are gathered up to this size before they are sent."""


class _ReaderGone(Exception):  # noqa: N818 - the name says the fact
    """The client does not take the rest of the answer."""


class RecordList:
    """The endpoint."""

    def __init__(self, streams: Streams, clock: Clock) -> None:
        self._streams = streams
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> int:
        """Answer with the records that the query string asks for."""
        try:
            question = parse_question(scope["query_string"], asker_of(scope).scope)
            check_instant(question.as_of_us, self._clock)
        except BadQuery as fault:
            return await send_json(send, 400, Problem(str(fault)))
        return await self._streams.answer(question, framing_for(scope["headers"]), scope, receive, send)


class Streams:
    """Answers of many records, at most `limits.streams` of them at a time."""

    def __init__(self, store: RecordStore, limits: Limits, meter: Meter) -> None:
        self._store = store
        self._limits = limits
        self._meter = meter
        self._running = 0

    async def answer(self, question: Question, framing: Framing, scope: Scope, receive: Receive, send: Send) -> int:
        """All records that answer `question`, in the form of `framing`."""
        with self.place() as there_is_room:
            if not there_is_room:
                return await send_away(send, "too many lists of records are being sent")
            rows = _Rows(self._store, question, framing)
            try:
                return await self._answer(rows, framing, scope, receive, send)
            finally:
                rows.release()

    @contextmanager
    def place(self) -> Iterator[bool]:
        """Hold one of the places for answers while the block runs; False when all are taken."""
        if self._running >= self._limits.streams:
            yield False
            return
        self._running += 1
        try:
            yield True
        finally:
            self._running -= 1

    @property
    def reader_seconds(self) -> float:
        """How long a reader may take nothing."""
        return self._limits.reader_seconds

    async def aside(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `work` returns, done in a thread of its own."""
        thread = ThreadPoolExecutor(1, "jobmeter-aside")
        try:
            return await asyncio.get_running_loop().run_in_executor(thread, lambda: work(*args, **kwargs))
        finally:
            thread.shutdown(wait=False)

    async def _answer(self, rows: _Rows, framing: Framing, scope: Scope, receive: Receive, send: Send) -> int:
        try:
            first = await rows.next_piece()
        except StoreUnavailable as fault:
            return await send_away(send, str(fault))
        gone = asyncio.ensure_future(_disconnected(receive))
        broken: str | None = "fault"
        try:
            await self._send_all(rows, first, framing, send, gone)
            broken = None
        except StoreUnavailable as fault:
            broken = f"store: {fault}"
        except TimeoutError:
            broken = "reader too slow"
        except _ReaderGone:
            broken = "reader gone"
        finally:
            if broken is not None:
                self._break(scope, broken)
            else:
                gone.cancel()
        if broken is None:
            return 200
        await gone
        return UNANSWERED

    async def _send_all(
        self, rows: _Rows, piece: bytes, framing: Framing, send: Send, gone: asyncio.Future[None]
    ) -> None:
        headers = [(b"content-type", framing.content_type)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        framed = framing.first(piece)
        while piece:
            coming = asyncio.ensure_future(rows.next_piece())
            try:
                async with asyncio.timeout(self._limits.reader_seconds):
                    await send({"type": "http.response.body", "body": framed, "more_body": True})
            finally:
                await asyncio.wait([coming])
            if gone.done():
                raise _ReaderGone
            piece = coming.result()
            framed = framing.further(piece)
        await send({"type": "http.response.body", "body": framed + framing.last})

    def _break(self, scope: Scope, why: str) -> None:
        self._meter.streams_broken.labels(why.partition(":")[0]).inc()
        log.warning("stream.broken why=%r query=%r", why, scope["query_string"])
        break_off(scope)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class _Rows:
    """The store's iterator, used in one thread from its making to its end."""

    def __init__(self, store: RecordStore, question: Question, framing: Framing) -> None:
        self._store = store
        self._question = question
        self._framing = framing
        self._chunks: Iterator[bytes] | None = None
        self._thread = ThreadPoolExecutor(1, "jobmeter-stream")

    async def next_piece(self) -> bytes:
        """Whole records from about PIECE_BYTES of lines, recoded; empty at the end. Raises StoreUnavailable."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._gather)

    def release(self) -> None:
        """Give the store its cursor back, as soon as the step in progress returns."""
        self._thread.submit(self._close)
        self._thread.shutdown(wait=False)

    def _gather(self) -> bytes:
        if self._chunks is None:
            self._chunks = self._store.stream(self._question)
        pieces = []
        size = 0
        for chunk in self._chunks:
            pieces.append(chunk)
            size += len(chunk)
            if size >= PIECE_BYTES:
                break
        lines = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return self._framing.recoded(lines) if lines else lines

    def _close(self) -> None:
        close: Callable[[], Any] | None = getattr(self._chunks, "close", None)
        if close is not None:
            close()
