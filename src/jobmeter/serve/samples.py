"""Samples over HTTP: `GET /v2/samples`, `GET /v2/samples/tail` (Server-Sent Events) and `POST /v2/samples`.

Who may read records of some rows only sees samples of the jobs whose records they may see, and none of nodes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec
from msgspec import Struct

from jobmeter.contract import RecordStore, StoreUnavailable
from jobmeter.keeping import SampleStore, SummaryStore
from jobmeter.model.access import Asker, Role
from jobmeter.model.job import JobIdentity
from jobmeter.model.outcome import Keep, Rejected
from jobmeter.model.sample import Sample, SampleBatch
from jobmeter.model.series import SampleQuestion, SampleTable, answers
from jobmeter.query.fault import BadQuery
from jobmeter.query.samples import parse_samples
from jobmeter.serve.answer import JSON, UNANSWERED, Problem, Receive, Scope, Send, send_away, send_json
from jobmeter.serve.asker import asker_of
from jobmeter.serve.body import BodyRefused, Disconnected, read_body
from jobmeter.serve.form import Form, form_asked
from jobmeter.serve.joined import JoinRule, record_ids
from jobmeter.serve.protocol import break_off
from jobmeter.serve.reads import Readers
from jobmeter.serve.settings import Limits
from jobmeter.wire.frame import BadFrame, decode_frame, is_frame
from jobmeter.wire.sample_text import as_csv, as_json, as_lines, sample_line

TAIL_SECONDS = 0.25
BEAT_SECONDS = 15.0
TAILS_MAX = 64
FRAME_TYPE = b"application/vnd.jobmeter.frame"
WAITING_MAX = 64
"""Readings that may wait for one listener: 16 seconds."""
REASONS_MAX = 100
NONE_HERE = "this server has no sample store: set samples.path"

_FORMS: dict[Form, tuple[bytes, Callable[[Iterable[SampleTable]], Iterator[bytes]]]] = {
    Form.JSON: (JSON, as_json),
    Form.LINES: (b"application/x-ndjson", as_lines),
    Form.CSV: (b"text/csv; charset=utf-8", as_csv),
}

log = logging.getLogger("jobmeter.serve")


class Refusal(Struct, frozen=True):
    """A sample that can never be stored: its place in the body, from 0, and why."""

    place: int
    reason: str


class SamplesTaken(Struct, frozen=True):
    """How many samples of a body are stored, durably, and which are not: the first hundred."""

    accepted: int
    rejected: int
    reasons: list[Refusal]


class Visible:
    """Which jobs an asker may see: those whose records they may see."""

    def __init__(
        self, store: RecordStore, rules: tuple[JoinRule, ...], asker: Asker, names: SummaryStore | None = None
    ) -> None:
        self._store = store
        self._names = names
        self._rules = rules
        self._rows = asker.scope
        self.sees_all = asker.may_everywhere(Role.READ)
        self._known: dict[JobIdentity, bool] = {}

    def sees(self, job: JobIdentity | None) -> bool:
        """Whether samples of this job, or of nodes (None), may be seen. Raises StoreUnavailable."""
        if self.sees_all:
            return True
        if job is None:
            return False
        if job not in self._known:
            ids = record_ids(job, self._rules)
            if self._names is not None:
                ids += self._names.records_of(job)
            self._known[job] = any(self._store.one(record_id, self._rows) is not None for record_id in ids)
        return self._known[job]


class SampleList:
    """`GET /v2/samples`."""

    def __init__(self, samples: SampleStore, store: RecordStore, rules: tuple[JoinRule, ...], readers: Readers) -> None:
        self._samples = samples
        self._store = store
        self._rules = rules
        self._readers = readers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> int:
        """Answer with the samples that the query string asks for, in the form that `Accept` asks for."""
        del receive
        try:
            form, query = form_asked(scope, ("json", "ndjson", "csv"))
            question = parse_samples(query)
        except BadQuery as fault:
            return await send_json(send, 400, Problem(str(fault), fault.key or None, fault.reason))
        if form not in _FORMS:
            known = ", ".join(each.value[0] for each in _FORMS)
            return await send_json(send, 406, Problem(f"Accept names no form that there is: {known}"))
        content_type, written = _FORMS[form]
        visible = Visible(self._store, self._rules, asker_of(scope))
        pieces = written(self._tables(question, visible))
        try:
            piece: bytes | None = await self._readers.ask(_next, pieces)
            if form is Form.CSV:  # the head alone says nothing of the store
                more = await self._readers.ask(_next, pieces)
                piece = (piece or b"") + (more or b"")
        except StoreUnavailable as fault:
            return await send_away(send, str(fault))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", content_type)]})
        try:
            while piece is not None:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                piece = await self._readers.ask(_next, pieces)
        except StoreUnavailable as fault:
            log.warning("samples.broken reason=%r", str(fault))
            break_off(scope)
            return UNANSWERED
        await send({"type": "http.response.body", "body": b""})
        return 200

    def _tables(self, question: SampleQuestion, visible: Visible) -> Iterator[SampleTable]:
        for table in self._samples.tables(question):
            if visible.sees(table.series.job):
                yield table


class _Listener:
    """One that takes a tail: what waits for it, and how many samples it will not get as too much waited."""

    def __init__(self, question: SampleQuestion) -> None:
        self.queue: asyncio.Queue[list[tuple[Sample, bytes]]] = asyncio.Queue(maxsize=WAITING_MAX)
        self._question = question
        self._missed = 0

    def give(self, found: list[tuple[Sample, bytes]]) -> None:
        """Let it have these; where there is no room, those that it asked for are only counted."""
        try:
            self.queue.put_nowait(found)
        except asyncio.QueueFull:
            self._missed += sum(answers(sample, self._question) for sample, _ in found)

    def told(self, visible: Visible) -> bytes:
        """The event that tells of what was missed, empty without any; how many, tells who may see all of them."""
        missed, self._missed = self._missed, 0
        if not missed:
            return b""
        number = missed if visible.sees_all else "null"
        return f'event: missed\ndata: {{"samples":{number}}}\n\n'.encode()


class SampleTails:
    """`GET /v2/samples/tail`: Server-Sent Events, one `sample` event per sample, a comment as a sign of life.

    All that listen share one reading of the store, four times a second; it ends with the last of them. One that takes
    too slowly is told by an event `missed` how many samples it did not get.
    """

    def __init__(
        self,
        samples: SampleStore,
        store: RecordStore,
        rules: tuple[JoinRule, ...],
        readers: Readers,
    ) -> None:
        self._samples = samples
        self._store = store
        self._rules = rules
        self._readers = readers
        self._listeners: set[_Listener] = set()
        self._reading: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> int:
        """Send what comes until the client goes away."""
        try:
            question = parse_samples(scope["query_string"])
        except BadQuery as fault:
            return await send_json(send, 400, Problem(str(fault), fault.key or None, fault.reason))
        if len(self._listeners) >= TAILS_MAX:
            return await send_away(send, "too many tails are being sent")
        visible = Visible(self._store, self._rules, asker_of(scope))
        listener = _Listener(question)
        self._listeners.add(listener)
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            await self._begin()
            headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b": jobmeter\n\n", "more_body": True})
            while not gone.done():
                body = await self._next(listener, question, visible, gone)
                await send({"type": "http.response.body", "body": body, "more_body": True})
        except StoreUnavailable as fault:
            log.warning("samples.tail_ended reason=%r", str(fault))
            break_off(scope)
        finally:
            gone.cancel()
            self._listeners.discard(listener)
        return 200

    async def _next(
        self,
        listener: _Listener,
        question: SampleQuestion,
        visible: Visible,
        gone: asyncio.Future[None],
    ) -> bytes:
        coming = asyncio.ensure_future(listener.queue.get())
        either: list[asyncio.Future[Any]] = [coming, gone]
        await asyncio.wait(either, timeout=BEAT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if not coming.done():
            coming.cancel()
            return b": \n\n"
        return listener.told(visible) + await self._readers.ask(_events, coming.result(), question, visible)

    async def _begin(self) -> None:
        if self._reading is None or self._reading.done():
            feed = await self._readers.ask(self._samples.tail)
            self._reading = asyncio.create_task(self._read(feed))

    async def _read(self, feed: Any) -> None:
        try:
            while self._listeners:
                found = await self._readers.ask(lambda: [(one, sample_line(one, feed.metrics)) for one in feed.read()])
                for listener in self._listeners if found else ():
                    listener.give(found)
                await asyncio.sleep(TAIL_SECONDS)
        finally:
            feed.close()


def _next(pieces: Iterator[bytes]) -> bytes | None:
    return next(pieces, None)


def _events(found: list[tuple[Sample, bytes]], question: SampleQuestion, visible: Visible) -> bytes:
    chosen = (line for sample, line in found if answers(sample, question) and visible.sees(sample.job))
    return b"".join(b"event: sample\ndata: " + line + b"\n\n" for line in chosen) or b": \n\n"


class SamplesIn:
    """`POST /v2/samples`: a batch, or an array of them, as JSON, or a frame as our nodes send it.

    What is answered as accepted is durable.
    """

    def __init__(self, samples: SampleStore, readers: Readers, limits: Limits) -> None:
        self._samples = samples
        self._readers = readers
        self._limit_bytes = limits.body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> int:
        """Store what can be stored, and tell what can never be."""
        try:
            body = await read_body(scope, receive, self._limit_bytes, also=FRAME_TYPE)
            batches = [decode_frame(body)[1]] if is_frame(body) else _batches(body)
        except BodyRefused as refusal:
            return await send_json(send, refusal.status, Problem(str(refusal)))
        except msgspec.DecodeError as fault:
            return await send_json(send, 400, Problem(f"this is no batch of samples: {fault}"))
        except BadFrame as fault:
            return await send_json(send, 400, Problem(f"this is no frame of samples: {fault}"))
        except Disconnected:
            return UNANSWERED
        asker = asker_of(scope)
        clusters = {None if one.job is None else one.job.cluster for batch in batches for one in batch.samples}
        for cluster in clusters:
            if not asker.may_tell_of(None, cluster):
                where = "nodes" if cluster is None else f"the cluster {cluster!r}"
                reason = f"{asker.name} may not {Role.WRITE_DOCUMENTS.value} about {where}"
                return await send_json(send, 403, Problem(reason))
        try:
            taken = await self._readers.ask(self._store_all, batches)
        except StoreUnavailable as fault:
            return await send_away(send, str(fault))
        return await send_json(send, 200, taken)

    def _store_all(self, batches: list[SampleBatch]) -> SamplesTaken:
        sink = self._samples.sink()
        refusals: list[Refusal] = []
        accepted = place = 0
        for batch in batches:
            for outcome in sink.write(batch):
                if isinstance(outcome, Keep):
                    raise StoreUnavailable(outcome.reason)
                if isinstance(outcome, Rejected):
                    refusals.append(Refusal(place, outcome.reason))
                else:
                    accepted += 1
                place += 1
        try:
            sink.flush()
        except OSError as fault:
            raise StoreUnavailable(f"the samples cannot be made durable: {fault}") from None
        return SamplesTaken(accepted, len(refusals), refusals[:REASONS_MAX])


def _batches(body: bytes) -> list[SampleBatch]:
    if body.lstrip()[:1] == b"[":
        return msgspec.json.decode(body, type=list[SampleBatch])
    return [msgspec.json.decode(body, type=SampleBatch)]


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class NoSamples:
    """Any of these paths on a server without a sample store."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> int:
        """404 that says what to set."""
        del scope, receive
        return await send_json(send, 404, Problem(NONE_HERE))
