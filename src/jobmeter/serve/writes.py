"""The writes of AUDITOR's API: `POST /record`, `POST /records`, `PUT /record`.

AUDITOR's clients take every status as success and forget the record. So a write that could be stored later is never
answered: the connection is closed, which they do notice. A write that can never be stored is answered with the reason,
and kept among the dead letters first.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from jobmeter.contract import StoreUnavailable
from jobmeter.model.access import Asker, Role
from jobmeter.model.outcome import Stopped
from jobmeter.model.version import Edit
from jobmeter.serve.answer import (
    RECORD_EXISTS,
    TEXT,
    UNANSWERED,
    Problem,
    Receive,
    Scope,
    Send,
    close_unanswered,
    send_bytes,
    send_done,
    send_json,
)
from jobmeter.serve.asker import asker_of
from jobmeter.serve.body import BodyRefused, Disconnected, read_body
from jobmeter.serve.bulk import (
    CONFLICT_REASON,
    REFUSED,
    UNSTORABLE_REASON,
    ForbiddenRecord,
    Judged,
    decoded,
    fate_of,
    granted,
    judge,
    raw_elements,
)
from jobmeter.serve.disputes import Disputes
from jobmeter.serve.letterbox import Letterbox, origin_of
from jobmeter.serve.meter import Fate, Meter
from jobmeter.serve.protocol import break_off
from jobmeter.serve.settings import ServeSettings
from jobmeter.serve.writer import Writer
from jobmeter.wire.auditor import BadRecord, decode_record, decode_stop

log = logging.getLogger("jobmeter.serve")

LISTED_MAX = 100
"""So many refused records of a bulk are listed in its answer; all are counted and kept."""

_BEFORE_START = "is before the start_time of the stored record"


_Find = Callable[[str], Awaitable[bytes | None]]
_Serve = Callable[[Scope, bytes, Send], Awaitable[int]]


class Warned(Struct, frozen=True):
    """The body of AUDITOR for a duplicate that its configuration ignores."""

    warning: str


class RefusedRecord(Struct, frozen=True, omit_defaults=True):
    """One record of a bulk that was not stored: its place in the body, and why."""

    index: int
    outcome: Fate
    record_id: str | None = None
    field: str | None = None
    reason: str | None = None


class Refusals(Struct, frozen=True):
    """The body for a bulk of which some records can never be stored; the others are stored."""

    error: str
    stored: int
    refused_count: int
    refused: list[RefusedRecord]


_ONE_IGNORED = Warned("Record already exists, but the error was ignored due to AUDITOR configuration.")
_SOME_IGNORED = Warned("One or more records already exist, but the error was ignored due to AUDITOR configuration.")


class Writes:
    """The three endpoints, over one writer; `find` gives the stored record with an id."""

    def __init__(  # noqa: PLR0913, PLR0917
        self,
        writer: Writer,
        disputes: Disputes,
        letterbox: Letterbox,
        settings: ServeSettings,
        meter: Meter,
        find: _Find,
    ) -> None:
        self._find = find
        self._writer = writer
        self._disputes = disputes
        self._letterbox = letterbox
        self._meter = meter
        self._limit_bytes = settings.limits.body_bytes
        self._as_auditor = settings.auditor_status_codes
        self._ignore = settings.ignore_record_exists_error

    async def post_record(self, scope: Scope, receive: Receive, send: Send) -> int:
        """Add one record."""
        return await self._answered(self._post_record, scope, receive, send)

    async def post_records(self, scope: Scope, receive: Receive, send: Send) -> int:
        """Add many records; one that cannot be stored discards none of the others."""
        return await self._answered(self._post_records, scope, receive, send)

    async def put_record(self, scope: Scope, receive: Receive, send: Send) -> int:
        """Set the stop time of a stored record."""
        return await self._answered(self._put_record, scope, receive, send)

    async def _answered(self, serve: _Serve, scope: Scope, receive: Receive, send: Send) -> int:
        """What all writes share. Whatever prevents an honest answer closes the connection."""
        settled = False
        try:
            status = await self._settled(serve, scope, receive, send)
            settled = True
        finally:
            # uvicorn answers 500 for an application that fails or is cancelled, and the client would forget the record.
            if not settled:
                break_off(scope)
        return status

    async def _settled(self, serve: _Serve, scope: Scope, receive: Receive, send: Send) -> int:
        try:
            try:
                return await serve(scope, await read_body(scope, receive, self._limit_bytes), send)
            except BodyRefused as refusal:
                await self._letterbox.keep(scope, [(refusal.body, str(refusal))], refusal.size_bytes)
                self._meter.records[Fate.INVALID].inc()
                return await send_json(send, refusal.status, Problem(str(refusal)))
        except StoreUnavailable as fault:
            log.warning("write.unanswered origin=%s reason=%r", origin_of(scope), str(fault))
            self._meter.unanswered.inc()
            return await close_unanswered(scope, receive)
        except Disconnected:
            return UNANSWERED

    async def _post_record(self, scope: Scope, body: bytes, send: Send) -> int:
        try:
            record = decode_record(body)
        except BadRecord as fault:
            return await self._refuse(scope, body, fault, send)
        (item,) = granted(asker_of(scope), (record,))
        if isinstance(item, ForbiddenRecord):
            return await self._refuse(scope, body, item, send)
        fate = fate_of((await self._disputes.put(scope, (record,)))[0])
        if fate is Fate.INVALID:
            return await self._refuse(scope, body, BadRecord("", UNSTORABLE_REASON), send)
        self._meter.records[fate].inc()
        if fate is Fate.NEW:
            return await send_done(send)
        if fate is Fate.CONFLICT:
            conflict = Judged(0, fate, reason=CONFLICT_REASON, raw=body)
            await self._letterbox.keep(scope, self._disputes.to_bury([conflict]))
        return await self._exists(send, fate is Fate.CONFLICT, _ONE_IGNORED)

    async def _post_records(self, scope: Scope, body: bytes, send: Send) -> int:
        try:
            items = granted(asker_of(scope), await decoded(body))
        except BadRecord as fault:
            return await self._refuse(scope, body, fault, send)
        judged = await judge(partial(self._disputes.put, scope), items, lambda: raw_elements(body))
        fates = [one.outcome for one in judged]
        self._meter.count(fates)
        if fates.count(Fate.NEW) == len(fates):
            return await send_done(send)
        refused = [one for one in judged if one.outcome in REFUSED]
        await self._letterbox.keep(scope, self._disputes.to_bury(refused))
        if any(one.outcome is Fate.INVALID for one in refused):
            return await send_json(send, 400, _refusals(judged, refused))
        if any(one.outcome is Fate.FORBIDDEN for one in refused):
            return await send_json(send, 403, _refusals(judged, refused))
        return await self._exists(send, bool(refused), _SOME_IGNORED)

    async def _put_record(self, scope: Scope, body: bytes, send: Send) -> int:
        try:
            stop = decode_stop(body)
        except BadRecord as fault:
            return await self._refuse(scope, body, fault, send)
        forbidden = await self._forbidden(asker_of(scope), stop.record_id)
        if forbidden is not None:
            return await self._refuse(scope, body, forbidden, send)
        edit = Edit(asker_of(scope).name, "", self._letterbox.now())
        stopped = (await self._writer.stop((replace(stop, edit=edit),)))[0]
        if stopped is Stopped.DONE:
            return await send_done(send)
        if stopped is Stopped.UNKNOWN:
            sentence = f"Updating unknown record {stop.record_id} not possible."
            return await send_bytes(send, 404, sentence.encode(), TEXT)
        return await self._refuse(scope, body, BadRecord("stop_time", _BEFORE_START), send)

    async def _forbidden(self, asker: Asker, record_id: str) -> ForbiddenRecord | None:
        """Why the asker may not stop this record: what counts is what is stored. One that is not there is nobody's."""
        if asker.may_everywhere(Role.WRITE):
            return None
        stored = await self._find(record_id)
        if stored is None:
            return None
        (item,) = granted(asker, (decode_record(stored),))
        return item if isinstance(item, ForbiddenRecord) else None

    async def _refuse(self, scope: Scope, body: bytes, fault: BadRecord, send: Send) -> int:
        await self._letterbox.keep(scope, [(body, str(fault))])
        forbidden = isinstance(fault, ForbiddenRecord)
        self._meter.records[Fate.FORBIDDEN if forbidden else Fate.INVALID].inc()
        reason = str(fault).removeprefix(f"{fault.field}: ") if fault.field else None
        return await send_json(send, 403 if forbidden else 400, Problem(str(fault), fault.field or None, reason))

    async def _exists(self, send: Send, conflict: bool, warning: Warned) -> int:
        if self._ignore and (conflict or self._as_auditor):
            return await send_json(send, 200, warning)
        if self._as_auditor:
            return await send_bytes(send, 500, RECORD_EXISTS)
        if conflict:
            return await send_bytes(send, 409, RECORD_EXISTS, TEXT)
        return await send_done(send)


def _refusals(judged: list[Judged], refused: list[Judged]) -> Refusals:
    listed = [
        RefusedRecord(one.index, one.outcome, one.record_id, one.field, one.reason) for one in refused[:LISTED_MAX]
    ]
    sentence = f"{len(refused)} of {len(judged)} records were not stored"
    return Refusals(sentence, len(judged) - len(refused), len(refused), listed)
