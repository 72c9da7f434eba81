"""Conflicts to decide: `GET /v2/conflicts`, `POST /v2/conflicts/{number}`.

Whoever decides must be allowed to correct both records, the stored one and the one that was sent; others do not see the
conflict. A decision is made once.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from msgspec import Struct

from jobmeter.contract import Clock, RecordStore
from jobmeter.keeping import ConflictStore
from jobmeter.model.access import Asker, Role
from jobmeter.model.conflict import Conflict, Decision
from jobmeter.model.version import Changed, Edit
from jobmeter.serve.answer import Problem, Receive, Scope, Send
from jobmeter.serve.asker import asker_of
from jobmeter.serve.body import read_body
from jobmeter.serve.history import Done, Find, check_may_correct, edit_of, meta_of
from jobmeter.serve.reads import Readers
from jobmeter.serve.refusing import Refusal, answered, decoded
from jobmeter.wire.auditor import BadRecord, decode_record

ONE_CONFLICT = "/v2/conflicts/{number}"
_PREFIX = b"/v2/conflicts/"
_BODY_BYTES = 64 * 1024
_DEFAULT, _MAX = 20, 100
_NUMBER_DIGITS = 9
_STATES = {"open": False, "decided": True}
_NONE = Problem("there is no conflict with this number that you may decide")
_GONE = Problem("the stored record was withdrawn: the one that was sent cannot take its place")


class Ruling(Struct, frozen=True):
    """The body of a decision: `keep` what is stored or `take` what was sent, and why."""

    decision: Decision
    why: str


class ShownConflict(Struct, frozen=True):
    """A conflict as listed: what was sent, how often, by whom and when first; what is stored now; what was decided."""

    number: int
    record_id: str
    origin: str
    received: datetime
    sent: int
    decision: Decision | None
    who: str
    why: str
    at: datetime | None
    record: dict[str, Any]
    stored: dict[str, Any] | None


class _Asked(Struct, frozen=True):
    after: int
    limit: int
    decided: bool


class Conflicts:
    """The two endpoints, over the conflicts and the records."""

    def __init__(self, kept: ConflictStore, store: RecordStore, readers: Readers, clock: Clock, find: Find) -> None:
        self._kept = kept
        self._store = store
        self._readers = readers
        self._clock = clock
        self._find = find

    async def found(self, scope: Scope, receive: Receive, send: Send) -> int:
        """The conflicts that the asker may decide."""
        del receive
        return await answered(send, self._shown(scope))

    async def decide(self, scope: Scope, receive: Receive, send: Send) -> int:
        """Decide one."""
        return await answered(send, self._decided(scope, receive))

    async def _shown(self, scope: Scope) -> list[ShownConflict]:
        asker, asked = asker_of(scope), _asked(scope["query_string"])
        found: list[ShownConflict] = []
        after = asked.after
        while len(found) < asked.limit:
            some = await self._readers.ask(self._kept.find, after, asked.limit, decided=asked.decided)
            for one in some:
                after = one.number or after
                stored = await self._find(one.record_id)
                if len(found) < asked.limit and _fault(asker, one, stored) is None:
                    found.append(_shown(one, stored))
            if len(some) < asked.limit:
                break
        return found

    async def _decided(self, scope: Scope, receive: Receive) -> Done:
        given = decoded(await read_body(scope, receive, _BODY_BYTES), Ruling)
        asker, number = asker_of(scope), _number(scope)
        one = None if number is None else await self._readers.ask(self._kept.one, number)
        if one is None or number is None:
            raise Refusal(404, _NONE)
        stored = await self._find(one.record_id)
        if stored is not None:
            check_may_correct(asker, one.record_id, meta_of(stored).meta)
        check_may_correct(asker, one.record_id, meta_of(one.body).meta)
        edit = edit_of(asker, given.why, self._clock)
        if one.decision is not None:
            return Done(_repeated(one, given))
        if given.decision is Decision.TAKE:
            await self._take(one, edit)
        if await self._readers.ask(self._kept.decide, number, given.decision, edit):
            return Done(Changed.DONE)
        return Done(_repeated(await self._readers.ask(self._kept.one, number), given))

    async def _take(self, one: Conflict, edit: Edit) -> None:
        """Repeated after a crash it changes nothing more."""
        try:
            record = decode_record(one.body)
        except BadRecord as fault:
            raise Refusal(409, Problem(f"the record that was sent is not valid: {fault}")) from None
        changed = await self._readers.ask(self._store.correct, record, edit)
        if changed not in (Changed.DONE, Changed.SAME):
            raise Refusal(409, _GONE)


def _repeated(one: Conflict | None, given: Ruling) -> Changed:
    if one is None:
        raise Refusal(404, _NONE)
    if one.decision is not given.decision:
        decided = "open" if one.decision is None else one.decision.value
        raise Refusal(409, Problem(f"{one.edit.who} has decided otherwise: {decided}"))
    return Changed.SAME


def _fault(asker: Asker, one: Conflict, stored: bytes | None) -> object:
    """Why the asker may not decide it, or None."""
    fault = asker.fault(Role.CORRECT, one.record_id, meta_of(one.body).meta)
    if fault is None and stored is not None:
        fault = asker.fault(Role.CORRECT, one.record_id, meta_of(stored).meta)
    return fault


def _shown(one: Conflict, stored: bytes | None) -> ShownConflict:
    return ShownConflict(
        number=one.number or 0,
        record_id=one.record_id,
        origin=one.origin,
        received=one.received,
        sent=one.sent,
        decision=one.decision,
        who=one.edit.who,
        why=one.edit.why,
        at=one.edit.at,
        record=msgspec.json.decode(one.body),
        stored=None if stored is None else msgspec.json.decode(stored),
    )


def _asked(query: bytes) -> _Asked:
    given = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    named = dict(given)
    if len(named) < len(given) or (unknown := sorted(named.keys() - {"after", "limit", "state"})):
        field = unknown[0] if len(named) == len(given) else given[0][0]
        raise Refusal(400, Problem(f"{field!r} is no option here, or is given twice", field))
    state = named.get("state", "open")
    if state not in _STATES:
        raise Refusal(400, Problem("state must be open or decided", "state"))
    return _Asked(_whole(named, "after", 0, 0, 10**9 - 1), _whole(named, "limit", _DEFAULT, 1, _MAX), _STATES[state])


def _whole(named: Mapping[str, str], name: str, otherwise: int, least: int, most: int) -> int:
    text = named.get(name, str(otherwise))
    if not (text.isascii() and text.isdigit() and len(text) <= _NUMBER_DIGITS and least <= int(text) <= most):
        raise Refusal(400, Problem(f"{name} must be a whole number from {least} to {most}", name))
    return int(text)


def _number(scope: Scope) -> int | None:
    text = scope["raw_path"].removeprefix(_PREFIX).decode("latin-1")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _NUMBER_DIGITS else None
