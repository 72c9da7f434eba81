"""Conflicts in a table of the record store's database, SQLite or PostgreSQL alike.

A conflict is one content under one record id: sent again it is counted, not added, also after it was decided. What a
record was before it was changed is no conflict either: a collector that reads again sends it again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from jobmeter.model.conflict import Conflict, Decision
from jobmeter.model.record import from_microseconds, microseconds
from jobmeter.model.version import Edit
from jobmeter.store.connections import Connections
from jobmeter.store.row import key_of
from jobmeter.store.tables import conflicts, counters, versions

EVICTED = "conflicts_evicted"
"""The counter of conflicts that had to go for newer ones, undecided."""

_TEXT_MAX = 1000


class _Id(msgspec.Struct):
    record_id: str


_id_of = msgspec.json.Decoder(_Id).decode


class Conflicts:
    """The `jobmeter.keeping.ConflictStore` at `url`, whose schema must be the present one; at most `bound` are kept."""

    def __init__(self, url: str, bound: int = 10_000) -> None:
        self._connections = Connections(url)
        self._bound = bound

    def keep(self, found: Sequence[Conflict]) -> None:
        """See ConflictStore."""
        try:
            self._keep(found)
        except IntegrityError:  # another process has just kept one of these: now it is there
            self._keep(found)

    def find(self, after: int, limit: int, *, decided: bool = False) -> list[Conflict]:
        """See ConflictStore."""
        wanted = select(conflicts).where(conflicts.c.no > after).order_by(conflicts.c.no).limit(limit)
        state = conflicts.c.decision.is_not(None) if decided else conflicts.c.decision.is_(None)
        with self._connections.opened() as connection:
            return [_conflict(row) for row in connection.execute(wanted.where(state))]

    def one(self, number: int) -> Conflict | None:
        """See ConflictStore."""
        with self._connections.opened() as connection:
            row = connection.execute(select(conflicts).where(conflicts.c.no == number)).one_or_none()
        return None if row is None else _conflict(row)

    def decide(self, number: int, decision: Decision, edit: Edit) -> bool:
        """See ConflictStore."""
        here = (conflicts.c.no == number, conflicts.c.decision.is_(None))
        with self._connections.opened() as connection:
            return connection.execute(update(conflicts).where(*here).values(**_decided(decision, edit))).rowcount == 1

    def count(self) -> tuple[int, int]:
        """See ConflictStore."""
        with self._connections.opened() as connection:
            undecided = select(func.count()).select_from(conflicts).where(conflicts.c.decision.is_(None))
            evicted = connection.execute(select(counters.c.value).where(counters.c.name == EVICTED)).scalar()
            return int(connection.execute(undecided).scalar_one()), int(evicted or 0)

    def close(self) -> None:
        """See ConflictStore."""
        self._connections.close()

    def _keep(self, found: Sequence[Conflict]) -> None:
        with self._connections.opened() as connection:
            # In one order, whoever else keeps the same ones now.
            ordered = sorted(found, key=lambda one: (one.record_id, one.body))
            if sum(_kept(connection, one) for one in ordered):
                self._evict(connection)

    def _evict(self, connection: Connection) -> None:
        """The oldest go beyond the bound, decided ones first."""
        held = connection.execute(select(func.count()).select_from(conflicts)).scalar_one()
        if held <= self._bound:
            return
        order = (conflicts.c.decision.is_(None), conflicts.c.no)
        oldest = select(conflicts.c.no, conflicts.c.decision).order_by(*order).limit(held - self._bound)
        gone = connection.execute(oldest).all()
        connection.execute(delete(conflicts).where(conflicts.c.no.in_([row.no for row in gone])))
        undecided = sum(row.decision is None for row in gone)
        more = update(counters).where(counters.c.name == EVICTED).values(value=counters.c.value + undecided)
        if undecided and connection.execute(more).rowcount == 0:
            connection.execute(insert(counters).values(name=EVICTED, value=undecided))


def _kept(connection: Connection, one: Conflict) -> bool:
    """Whether it is new, and then it is kept."""
    key, digest = key_of(one.record_id), hashlib.sha256(one.body).digest()
    here = (conflicts.c.record_id == key, conflicts.c.digest == digest)
    if connection.execute(update(conflicts).where(*here).values(sent=conflicts.c.sent + 1)).rowcount:
        return False
    was = select(versions.c.no).where(versions.c.record_id == key, versions.c.body == one.body.decode()).limit(1)
    if one.decision is None and connection.execute(was).first() is not None:
        return False
    row = {
        "record_id": key,
        "digest": digest,
        "body": one.body.decode(),
        "origin": one.origin[:_TEXT_MAX].replace("\0", "\ufffd"),
        "received_us": microseconds(one.received),
        "sent": one.sent,
        **({} if one.decision is None else _decided(one.decision, one.edit)),
    }
    connection.execute(insert(conflicts).values(row))
    return True


def _decided(decision: Decision, edit: Edit) -> dict[str, object]:
    at_us = None if edit.at is None else microseconds(edit.at)
    return {"decision": decision.value, "who": edit.who, "why": edit.why, "at_us": at_us}


def _conflict(row: Row[Any]) -> Conflict:
    at = None if row.at_us is None else from_microseconds(row.at_us)
    return Conflict(
        record_id=_id_of(row.body).record_id,
        body=row.body.encode(),
        origin=row.origin,
        received=from_microseconds(row.received_us),
        decision=None if row.decision is None else Decision(row.decision),
        edit=Edit(row.who or "", row.why or "", at),
        number=row.no,
        sent=row.sent,
    )
