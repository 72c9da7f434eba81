"""Summaries of jobs: `POST /v2/summaries` takes them, `GET /v2/summaries` gives them, by job or by record.

Which record a summary belongs to say the rules of `[join]`; whether it is there already makes no difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import parse_qsl

import msgspec
from msgspec import Struct

from jobmeter.contract import RecordStore, StoreUnavailable
from jobmeter.keeping import SummaryStore
from jobmeter.model.access import Role
from jobmeter.model.summary import JobSummary
from jobmeter.serve.answer import UNANSWERED, Problem, Receive, Scope, Send, send_away, send_json
from jobmeter.serve.asker import asker_of
from jobmeter.serve.body import BodyRefused, Disconnected, read_body
from jobmeter.serve.joined import JoinRule, record_ids
from jobmeter.serve.reads import Readers
from jobmeter.serve.samples import Visible
from jobmeter.serve.settings import Limits

NAME_MAX_BYTES = 512
"""All three names of a job are in one key of the database, which takes about 2,700 bytes."""
_USE = "ask by record_id, or by manager and job, and cluster if need be"


class SummaryList(Struct, frozen=True):
    """The summaries that were asked for, run by run."""

    summaries: list[JobSummary]


class SummariesTaken(Struct, frozen=True):
    """How many summaries are stored, durably."""

    accepted: int


class SummariesIn:
    """`POST /v2/summaries`: one, or an array, as JSON. Of a job the summary that tells most is kept."""

    def __init__(
        self,
        summaries: SummaryStore,
        readers: Readers,
        limits: Limits,
        rules: tuple[JoinRule, ...],
        heard: Callable[[list[JobSummary]], None] | None = None,
    ) -> None:
        self._summaries = summaries
        self._heard = heard
        self._readers = readers
        self._limit_bytes = limits.body_bytes
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> int:
        """Store all of them, or none."""
        try:
            given = _decoded(await read_body(scope, receive, self._limit_bytes))
        except BodyRefused as refusal:
            return await send_json(send, refusal.status, Problem(str(refusal)))
        except msgspec.DecodeError as fault:
            return await send_json(send, 400, Problem(f"this is no summary: {fault}"))
        except Disconnected:
            return UNANSWERED
        if (reason := next(filter(None, map(_fault, given)), None)) is not None:
            return await send_json(send, 400, Problem(reason))
        asker = asker_of(scope)
        for one in given:
            if not asker.may_tell_of(None, one.job.cluster):
                reason = f"{asker.name} may not {Role.WRITE_DOCUMENTS.value} about the cluster {one.job.cluster!r}"
                return await send_json(send, 403, Problem(reason))
        rows = [(one, next(iter(record_ids(one.job, self._rules)), None)) for one in given]
        try:
            await self._readers.ask(self._summaries.put, rows)
        except StoreUnavailable as fault:
            return await send_away(send, str(fault))
        if self._heard is not None:
            self._heard(given)
        return await send_json(send, 200, SummariesTaken(len(rows)))


class SummariesOut:
    """`GET /v2/summaries`."""

    def __init__(
        self, summaries: SummaryStore, store: RecordStore, readers: Readers, rules: tuple[JoinRule, ...]
    ) -> None:
        self._summaries = summaries
        self._store = store
        self._readers = readers
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> int:
        """Answer with what the asker may see: summaries of the jobs whose records they may see."""
        del receive
        pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        asked = dict(pairs)
        by_record = set(asked) == {"record_id"}
        by_job = {"manager", "job"} <= set(asked) <= {"manager", "cluster", "job"}
        if len(asked) != len(pairs) or not (by_record or by_job):
            return await send_json(send, 400, Problem(_USE))
        visible = Visible(self._store, self._rules, asker_of(scope), self._summaries)
        try:
            found = await self._readers.ask(lambda: list(self._found(asked, visible)))
        except StoreUnavailable as fault:
            return await send_away(send, str(fault))
        return await send_json(send, 200, SummaryList(found))

    def _found(self, asked: dict[str, str], visible: Visible) -> Iterator[JobSummary]:
        if "record_id" in asked:
            one = self._summaries.of_record(asked["record_id"])
            found = [] if one is None else [one]
        else:
            found = self._summaries.of_job(asked["manager"], asked.get("cluster"), asked["job"])
        yield from (one for one in found if visible.sees(one.job))


def _fault(summary: JobSummary) -> str | None:
    """What no database can keep as the name of a job."""
    for field in ("manager", "cluster", "job"):
        text: str = getattr(summary.job, field)
        if "\0" in text or len(text.encode()) > NAME_MAX_BYTES:
            return f"job.{field}: is longer than {NAME_MAX_BYTES} bytes, or holds a NUL"
    return None


def _decoded(body: bytes) -> list[JobSummary]:
    if body.lstrip()[:1] == b"[":
        return msgspec.json.decode(body, type=list[JobSummary])
    return [msgspec.json.decode(body, type=JobSummary)]
