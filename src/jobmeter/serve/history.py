"""Changes of stored records under `/v2/records/{record_id}/`: `corrections`, `withdrawal`, and the `versions` kept.

Whoever corrects must be allowed to for the record as it is stored and as it is to be; the change is kept with their
name. Versions are shown as far as the asker may see records like them, also those of a withdrawn record.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec
from msgspec import Raw, Struct

from jobmeter.contract import Clock, RecordStore
from jobmeter.model.access import Asker, Role
from jobmeter.model.record import Record
from jobmeter.model.version import Changed, ChangeKind, Edit
from jobmeter.serve.answer import Problem, Receive, Scope, Send
from jobmeter.serve.asker import asker_of
from jobmeter.serve.body import read_body
from jobmeter.serve.reads import Readers
from jobmeter.serve.refusing import Refusal, answered, decoded
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


class Verified(Struct, frozen=True):
    """Where the kept versions are not what was written: how many places, and the first of them in sentences."""

    fault_count: int
    faults: list[str]


class _Meta(Struct):
    meta: dict[str, tuple[str, ...]] | None = None


meta_of = msgspec.json.Decoder(_Meta).decode
_NOT_THERE = Problem("there is no record with this record_id")
Find = Callable[[str], Awaitable[bytes | None]]
"""Looks up what is stored, whoever asks."""

FAULTS_MAX = 100
"""So many faults are told in one answer; all are counted."""


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
        return await answered(send, self._versions(scope))

    async def verified(self, scope: Scope, receive: Receive, send: Send) -> int:
        """Whether the chain of versions holds."""
        del scope, receive
        return await answered(send, self._verified())

    async def correct(self, scope: Scope, receive: Receive, send: Send) -> int:
        """Replace a record."""
        return await answered(send, self._correct(scope, receive))

    async def withdraw(self, scope: Scope, receive: Receive, send: Send) -> int:
        """Take a record out of the account."""
        return await answered(send, self._withdraw(scope, receive))

    async def _versions(self, scope: Scope) -> list[KeptVersion]:
        record_id = _record_id(scope)
        if record_id is None:
            raise Refusal(404, _NOT_THERE)
        rows = asker_of(scope).scope
        kept = await self._readers.ask(self._store.versions, record_id)
        seen = [one for one in kept if rows.sees(meta_of(one.body).meta)]
        if not seen and await self._readers.ask(self._store.one, record_id, rows) is None:
            raise Refusal(404, _NOT_THERE)
        return [
            KeptVersion(one.number, one.ended, one.edit.who, one.edit.why, one.edit.at, msgspec.json.decode(one.body))
            for one in seen
        ]

    async def _verified(self) -> Verified:
        faults = await self._readers.ask(self._store.check_versions)
        return Verified(len(faults), faults[:FAULTS_MAX])

    async def _correct(self, scope: Scope, receive: Receive) -> Done:
        given = decoded(await read_body(scope, receive, self._limit_bytes), _Correction)
        try:
            record = decode_record(bytes(given.record))
        except BadRecord as fault:
            raise Refusal(400, Problem(str(fault), fault.field or None)) from None
        asker = asker_of(scope)
        stored = await self._may_change(asker, _record_id(scope))
        if record.record_id != stored:
            raise Refusal(400, Problem("the record_id of the record is not that of the address", "record_id"))
        check_may_correct(asker, stored, record.meta)
        edit = edit_of(asker, given.why, self._clock)
        return _done(await self._readers.ask(self._store.correct, record, edit))

    async def _withdraw(self, scope: Scope, receive: Receive) -> Done:
        given = decoded(await read_body(scope, receive, self._limit_bytes), Withdrawal)
        asker = asker_of(scope)
        stored = await self._may_change(asker, _record_id(scope))
        edit = edit_of(asker, given.why, self._clock)
        return _done(await self._readers.ask(self._store.withdraw, stored, edit))

    async def _may_change(self, asker: Asker, record_id: str | None) -> str:
        """The id, when there is such a record and the asker may change it."""
        body = None if record_id is None else await self._find(record_id)
        if record_id is None or body is None:
            raise Refusal(404, _NOT_THERE)
        check_may_correct(asker, record_id, meta_of(body).meta)
        return record_id


def _done(changed: Changed) -> Done:
    """Raises Refusal unless the record is as it was to be."""
    if changed is Changed.UNKNOWN:
        raise Refusal(404, _NOT_THERE)
    if changed is Changed.REFUSED:
        raise Refusal(400, Problem("the database cannot hold this record"))
    return Done(changed)


def check_may_correct(asker: Asker, record_id: str, meta: dict[str, tuple[str, ...]] | None) -> None:
    """Raises Refusal unless the asker may correct a record with this id and meta."""
    fault = asker.fault(Role.CORRECT, record_id, meta)
    if fault is not None:
        field, reason = fault
        raise Refusal(403, Problem(f"{field}: {reason}" if field else reason, field or None, reason))


def edit_of(asker: Asker, why: str, clock: Clock) -> Edit:
    """A change by the asker, now. Raises Refusal when it has no reason."""
    if not why.strip() or "\0" in why:
        raise Refusal(400, Problem("why: say why the record is changed", "why"))
    return Edit(asker.name, why, clock.now())


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
