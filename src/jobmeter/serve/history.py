"""Changes of stored records under `/v2/records/{record_id}/`: `corrections`, `withdrawal`, and the `versions` kept.

Whoever corrects must be allowed to for the record as it is stored and as it is to be; the change is kept with their
name. Versions are shown as far as the asker may see records like them, also those of a withdrawn record.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes

import msgspec
from msgspec import Raw, Struct

from jobmeter.contract import Clock, RecordStore, StoreUnavailable
from jobmeter.model.access import Asker, Role
from jobmeter.model.record import Record
from jobmeter.model.version import Changed, ChangeKind, Edit
from jobmeter.serve.answer import UNANSWERED, Problem, Receive, Scope, Send, send_away, send_json
from jobmeter.serve.asker import asker_of
from jobmeter.serve.body import BodyRefused, Disconnected, read_body
from jobmeter.serve.reads import Readers
from jobmeter.wire.auditor import BadRecord, decode_record

PREFIX = b"/v2/records/"


class Correction(Struct, frozen=True):
    """The body of a correction: why, and the record as it is to be."""

    why: str
    record: Record


class Withdrawal(Struct, frozen=True):
    """The body of a withdrawal: why."""

    why: str


class _Correction(Struct, frozen=True):
    why: str
    record: Raw


class Done(Struct, frozen=True):
    """What became of it: `done`, or `same` when the record says all of this already."""

    outcome: Changed


class KeptVersion(Struct, frozen=True):
    """A state that the record no longer has, and what ended it: how, by whom, why and when."""

    number: int
    ended: ChangeKind
    who: str
    why: str
    at: datetime | None
    record: dict[str, Any]


class _Refusal(Exception):  # noqa: N818 - a decision, carried to where it is answered
    def __init__(self, status: int, problem: Problem) -> None:
        super().__init__(problem.error)
        self.status = status
        self.problem = problem


class _Meta(Struct):
    meta: dict[str, tuple[str, ...]] | None = None


_meta_of = msgspec.json.Decoder(_Meta).decode
_NOT_THERE = Problem("there is no record with this record_id")
Find = Callable[[str], Awaitable[bytes | None]]
"""Looks up what is stored, whoever asks."""

B = TypeVar("B")


class History:
    """The three endpoints, over one store."""

    def __init__(self, store: RecordStore, readers: Readers, clock: Clock, limit_bytes: int, find: Find) -> None:
        self._find = find
        self._store = store
        self._readers = readers
        self._clock = clock
        self._limit_bytes = limit_bytes

    async def versions(self, scope: Scope, receive: Receive, send: Send) -> int:
        """The versions of a record, oldest first."""
        del receive
        record_id = _record_id(scope)
        if record_id is None:
            return await send_json(send, 404, _NOT_THERE)
        rows = asker_of(scope).scope
        try:
            kept = await self._readers.ask(self._store.versions, record_id)
            seen = [one for one in kept if rows.sees(_meta_of(one.body).meta)]
            if not seen and await self._readers.ask(self._store.one, record_id, rows) is None:
                return await send_json(send, 404, _NOT_THERE)
        except StoreUnavailable as fault:
            return await send_away(send, str(fault))
        listed = [
            KeptVersion(one.number, one.ended, one.edit.who, one.edit.why, one.edit.at, msgspec.json.decode(one.body))
            for one in seen
        ]
        return await send_json(send, 200, listed)

    async def correct(self, scope: Scope, receive: Receive, send: Send) -> int:
        """Replace a record."""
        return await self._answered(scope, receive, send, corrects=True)

    async def withdraw(self, scope: Scope, receive: Receive, send: Send) -> int:
        """Take a record out of the account."""
        return await self._answered(scope, receive, send, corrects=False)

    async def _answered(self, scope: Scope, receive: Receive, send: Send, *, corrects: bool) -> int:
        try:
            body = await read_body(scope, receive, self._limit_bytes)
            changed = await (self._correct if corrects else self._withdraw)(scope, body)
        except BodyRefused as refusal:
            return await send_json(send, refusal.status, Problem(str(refusal)))
        except _Refusal as refusal:
            return await send_json(send, refusal.status, refusal.problem)
        except StoreUnavailable as fault:
            return await send_away(send, str(fault))
        except Disconnected:
            return UNANSWERED
        if changed is Changed.UNKNOWN:
            return await send_json(send, 404, _NOT_THERE)
        if changed is Changed.REFUSED:
            return await send_json(send, 400, Problem("the database cannot hold this record"))
        return await send_json(send, 200, Done(changed))

    async def _correct(self, scope: Scope, body: bytes) -> Changed:
        given = _decoded(body, _Correction)
        try:
            record = decode_record(bytes(given.record))
        except BadRecord as fault:
            raise _Refusal(400, Problem(str(fault), fault.field or None)) from None
        asker = asker_of(scope)
        stored = await self._may_change(asker, _record_id(scope))
        if record.record_id != stored:
            raise _Refusal(400, Problem("the record_id of the record is not that of the address", "record_id"))
        _check(asker, stored, record.meta)
        return await self._readers.ask(self._store.correct, record, self._edit(asker, given.why))

    async def _withdraw(self, scope: Scope, body: bytes) -> Changed:
        given = _decoded(body, Withdrawal)
        asker = asker_of(scope)
        stored = await self._may_change(asker, _record_id(scope))
        return await self._readers.ask(self._store.withdraw, stored, self._edit(asker, given.why))

    async def _may_change(self, asker: Asker, record_id: str | None) -> str:
        """The id, when there is such a record and the asker may change it."""
        body = None if record_id is None else await self._find(record_id)
        if record_id is None or body is None:
            raise _Refusal(404, _NOT_THERE)
        _check(asker, record_id, _meta_of(body).meta)
        return record_id

    def _edit(self, asker: Asker, why: str) -> Edit:
        if not why.strip() or "\0" in why:
            raise _Refusal(400, Problem("why: say why the record is changed", "why"))
        return Edit(asker.name, why, self._clock.now())


def _check(asker: Asker, record_id: str, meta: dict[str, tuple[str, ...]] | None) -> None:
    fault = asker.fault(Role.CORRECT, record_id, meta)
    if fault is not None:
        field, reason = fault
        raise _Refusal(403, Problem(f"{field}: {reason}" if field else reason, field or None, reason))


def _decoded(body: bytes, kind: type[B]) -> B:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as fault:
        raise _Refusal(400, Problem(f"the body is not understood: {fault}")) from None


def tail_of(raw_path: bytes) -> str | None:
    """The path in the table that `/v2/records/{record_id}/…` belongs to, or None."""
    middle = raw_path.removeprefix(PREFIX)
    record_id, slash, tail = middle.partition(b"/")
    if len(middle) == len(raw_path) or not record_id or not slash:
        return None
    return f"/v2/records/{{record_id}}/{tail.decode('latin-1')}"


def _record_id(scope: Scope) -> str | None:
    raw: bytes = scope["raw_path"]
    try:
        return unquote_to_bytes(raw.removeprefix(PREFIX).partition(b"/")[0]).decode()
    except UnicodeDecodeError:
        return None
