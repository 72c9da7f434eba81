"""Carries rows of an AUDITOR database into our record store, in batches, with a bookmark behind each.

A bookmark is moved only after its batch is durable, and a repeat of a record does no harm, so a transfer may be broken
off at any instant and started again. A row that can never be stored becomes a dead letter, once, and disturbs no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Protocol

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from jobmeter.contract import Bookmarks, Clock, RecordStore
from jobmeter.model.letter import DeadLetter
from jobmeter.model.outcome import Stopped, Stored
from jobmeter.model.question import Scope
from jobmeter.model.record import Record, RecordStop
from jobmeter.moving.source import ROWS_AT_ONCE, Row, Snapshot
from jobmeter.wire.auditor import BadRecord, decode_record, decode_records

_REMEMBERED = 10_000


class Target(Bookmarks, RecordStore, Protocol):
    """A record store that keeps bookmarks, as both of ours do."""


class Bad(Struct, frozen=True):
    """A row that could not be stored; `record_id` where it could be read."""

    id: int
    record_id: str | None
    reason: str


class Position(Struct, frozen=True):
    """How far the source was read: behind id `after`, and changes from the moment `since` on.

    `buried` are the newest rows that became dead letters, each as id and time of its last change.
    """

    after: int = -1
    since: str | None = None
    buried: tuple[tuple[int, str], ...] = ()


class Carried(Struct):
    """What became of the rows that were read."""

    read: int = 0
    new: int = 0
    same: int = 0
    stopped: int = 0
    bad: int = 0

    def add(self, other: Carried) -> None:
        """Count another pass in."""
        for field in self.__struct_fields__:
            setattr(self, field, getattr(self, field) + getattr(other, field))


class Transfer:
    """Reads one source into one store. `name` is that of the bookmark and the origin of dead letters."""

    def __init__(self, store: Target, name: str, clock: Clock, *, from_start: bool = False) -> None:
        self._store = store
        self._name = name
        self._clock = clock
        kept = None if from_start else store.bookmark(name)
        self._position = Position() if kept is None else msgspec.json.decode(kept, type=Position)

    def run(self, snapshot: Snapshot, progress: Callable[[Carried], None], listed: Callable[[Bad], None]) -> Carried:
        """Carry over what the bookmark has not passed yet. Raises SourceAway, StoreUnavailable."""
        carried = Carried()
        since = self._position.since
        if since is None:
            # Rows that change while the first reading goes on, or after it was broken off, are found by their change.
            self._position = replace(self._position, since=snapshot.changes_from)
        for rows in batches(snapshot.rows(self._position.after, since), ROWS_AT_ONCE):
            self._carry(rows, carried, listed)
            self._move(max(self._position.after, rows[-1].id), self._position.since)
            progress(carried)
        self._move(self._position.after, snapshot.changes_from)
        return carried

    def _move(self, after: int, since: str | None) -> None:
        self._position = replace(self._position, after=after, since=since)
        self._store.keep_bookmark(self._name, msgspec.json.encode(self._position).decode())

    def _carry(self, rows: Sequence[Row], carried: Carried, listed: Callable[[Bad], None]) -> None:
        read = list(zip(rows, judged(rows), strict=True))
        good = [(row, record) for row, record in read if isinstance(record, Record)]
        bad = [(row, str(fault)) for row, fault in read if isinstance(fault, BadRecord)]
        for (row, record), stored in zip(good, self._store.put([record for _, record in good]), strict=True):
            if stored is Stored.NEW:
                carried.new += 1
            elif stored is Stored.SAME:
                carried.same += 1
            elif stored is Stored.CONFLICT and self._stopped(record):
                carried.stopped += 1
            else:
                bad.append((row, CONFLICT if stored is Stored.CONFLICT else "the database cannot hold this record"))
        self._bury(bad, listed)
        carried.bad += len(bad)
        carried.read += len(rows)

    def _stopped(self, record: Record) -> bool:
        """Whether the stored record is this one while it ran; its stop time is set then."""
        held = self._store.one(record.record_id, Scope.everything())
        if held is None or record.stop_time is None or decode_record(held) != replace(record, stop_time=None):
            return False
        return self._store.stop([RecordStop(record.record_id, record.stop_time)]) == [Stopped.DONE]

    def _bury(self, bad: Sequence[tuple[Row, str]], listed: Callable[[Bad], None]) -> None:
        known = set(self._position.buried)
        fresh = [(row, reason) for row, reason in bad if (row.id, row.updated) not in known]
        now = self._clock.now()
        self._store.bury([self._letter(row, reason, now) for row, reason in fresh])
        buried = (*self._position.buried, *((row.id, row.updated) for row, _ in fresh))
        self._position = replace(self._position, buried=buried[-_REMEMBERED:])
        for row, reason in bad:
            listed(Bad(row.id, record_id_of(row.body), reason))

    def _letter(self, row: Row, reason: str, now: datetime) -> DeadLetter:
        return DeadLetter(self._name, f"row {row.id}: {reason}", row.body, now, len(row.body))


CONFLICT = "conflict: another record with this id is stored already"


class _Id(Struct):
    record_id: str | None = None


def record_id_of(body: bytes) -> str | None:
    """The record id in a row's JSON, where it can be read."""
    try:
        return msgspec.json.decode(body, type=_Id).record_id
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def judged(rows: Sequence[Row]) -> list[Record | BadRecord]:
    """Each row's record, or why it is none."""
    try:
        found = decode_records(b"[" + b",".join(row.body for row in rows) + b"]")
        if len(found) == len(rows):
            return found
    except BadRecord:
        pass  # a row that is no JSON; below, each row stands alone
    return [_alone(row.body) for row in rows]


def _alone(body: bytes) -> Record | BadRecord:
    try:
        return decode_record(body)
    except BadRecord as fault:
        return fault


def batches(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    """The rows in lists of at most `size`."""
    ahead = iter(rows)
    while batch := list(islice(ahead, size)):
        yield batch
