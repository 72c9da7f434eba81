"""The receiving end of facility documents: `POST /` and `POST /v2/documents`, and `GET /v2/documents`.

A request is taken whole or not at all: with a document in it that is none (400), whose token nobody has (401) or whose
cluster the token may not tell of (403), nothing of it is stored. What is answered with 200 is durable.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime

import msgspec
from msgspec import Struct

from jobmeter.contract import Clock, DocumentStore, StoreUnavailable
from jobmeter.model.access import Asker, Role
from jobmeter.model.facility import Clusters, DocumentQuestion, Received
from jobmeter.serve.answer import UNANSWERED, Problem, Receive, Scope, Send, send_away, send_done, send_json
from jobmeter.serve.asker import KEY, asker_of
from jobmeter.serve.body import BodyRefused, Disconnected, read_body
from jobmeter.serve.keyring import Keyring
from jobmeter.serve.letterbox import origin_of
from jobmeter.serve.meter import Meter
from jobmeter.serve.parameters import BadParameter, Parameters
from jobmeter.serve.reads import Readers
from jobmeter.serve.writer import Writer
from jobmeter.wire.received import BadDocument, Posted, decode_posted

log = logging.getLogger("jobmeter.serve")

LIST_MAX = 1000
_KEY_MAX_BYTES = 256
_CHALLENGE = [(b"www-authenticate", b'Bearer realm="jobmeter"')]


class Shown(Struct, frozen=True, omit_defaults=True):
    """A document as it is listed."""

    number: int | None
    received: datetime
    observed: datetime
    document: msgspec.Raw


class Listed(Struct, frozen=True):
    """Documents, the newest first; `before` asks for those after them, None at the end."""

    documents: list[Shown]
    before: int | None


class _Refused(Exception):  # noqa: N818 - a decision, carried to where it is answered
    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class DocumentsIn:
    """`POST /` and `POST /v2/documents`."""

    def __init__(self, writer: Writer, keyring: Keyring, limit_bytes: int, clock: Clock, meter: Meter) -> None:
        self._writer = writer
        self._keyring = keyring
        self._limit_bytes = limit_bytes
        self._clock = clock
        self._meter = meter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> int:
        """Store every document of the body, or none."""
        try:
            body = await read_body(scope, receive, self._limit_bytes)
            posted = decode_posted(body, self._clock.now(), _request_key(scope))
            await self._require_rights(scope, posted)
            await self._writer.keep([one.document for one in posted])
        except BodyRefused as refusal:
            return await self._refused(scope, send, refusal.status, str(refusal))
        except BadDocument as fault:
            return await self._refused(scope, send, 400, str(fault))
        except _Refused as refusal:
            return await self._refused(scope, send, refusal.status, str(refusal))
        except StoreUnavailable as fault:
            log.warning("documents.put_off origin=%s reason=%r", origin_of(scope), str(fault))
            return await send_away(send, str(fault))
        except Disconnected:
            return UNANSWERED
        for one in posted:
            self._meter.document(one.document.kind)
        return await send_done(send)

    async def _refused(self, scope: Scope, send: Send, status: int, sentence: str) -> int:
        self._meter.documents_refused(status)
        log.info("documents.refused status=%d origin=%s reason=%r", status, origin_of(scope), sentence[:500])
        return await send_json(send, status, Problem(sentence), _CHALLENGE if status == 401 else ())

    async def _require_rights(self, scope: Scope, posted: Sequence[Posted]) -> None:
        """The door knows who asks by a header or certificate, or that nobody is asked; else each token must be one."""
        asker: Asker | None = scope.get(KEY)
        known: dict[str | None, Asker] = {}
        for place, one in enumerate(posted):
            who = asker
            if who is None:
                who = known.get(one.token) or await self._by_token(one.token, place)
                known[one.token] = who
            if not who.may_tell_of(None, one.document.cluster):
                raise _Refused(403, f"{who.name} may not tell of the cluster {one.document.cluster!r}")

    async def _by_token(self, token: str | None, place: int) -> Asker:
        asker = None if token is None else await self._keyring.asker(token.encode("utf-8", "replace"))
        if asker is None:
            raise _Refused(401, f"document {place}: its token is missing, unknown, has expired or was revoked")
        return asker


class DocumentsOut:
    """`GET /v2/documents?kind=&cluster=&login_node=&since=&until=&before=&limit=`, the newest first."""

    def __init__(self, store: DocumentStore, readers: Readers, clock: Clock) -> None:
        self._store = store
        self._readers = readers
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> int:
        """The documents that the asker may see."""
        del receive
        try:
            given = Parameters(scope["query_string"], self._clock.now())
            question = DocumentQuestion(
                clusters_of(asker_of(scope)),
                kind=given.text("kind"),
                cluster=given.text("cluster"),
                node=given.text("login_node"),
                span=given.span_if_given(),
                before=given.number("before", None, 2**62),
                limit=given.number("limit", 100, LIST_MAX) or 100,
            )
            given.require_known()
        except BadParameter as fault:
            return await send_json(send, 400, Problem(str(fault), fault.name))
        try:
            found = await self._readers.ask(self._store.find, question)
        except StoreUnavailable as fault:
            return await send_away(send, str(fault))
        before = found[-1].number if len(found) == question.limit else None
        return await send_json(send, 200, Listed([shown(document) for document in found], before))


def shown(document: Received) -> Shown:
    """The document as it is listed."""
    return Shown(document.number, document.received, document.observed, msgspec.Raw(document.body))


def clusters_of(asker: Asker) -> Clusters:
    """The clusters whose documents the asker may read. Within a site or meta there are none."""
    seen: set[str] = set()
    for grant in asker.grants:
        limits = grant.limits
        if Role.READ in grant.roles and limits.sites is None and limits.prefixes is None and not limits.meta:
            if limits.clusters is None:
                return None
            seen.update(limits.clusters)
    return frozenset(seen)


def _request_key(scope: Scope) -> bytes | None:
    """The sender's name for this request; with the sender's address, so that two of them cannot meet."""
    for name, value in scope["headers"]:
        if name == b"idempotency-key" and 0 < len(value) <= _KEY_MAX_BYTES:
            return bytes(value)
    return None
