"""How a record becomes a row, and what a batch of rows means beside those that are stored."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from jobmeter.model.joining import without_joined
from jobmeter.model.outcome import Stopped, Stored
from jobmeter.model.record import Component, Record, RecordStop, Score, from_microseconds, microseconds, record_fault
from jobmeter.model.version import Edit
from jobmeter.store.facet import Signature, signature_of
from jobmeter.wire.auditor import encode_record

KEY_LIMIT_BYTES = 1024
"""Longer ids get a shortened key: an index entry of PostgreSQL holds at most 2,704 bytes, a name has no such limit."""


def key_of(record_id: str) -> str:
    """What `record_id` is stored, found and ordered by: itself, or its beginning and a digest when it is very long.

    Keys are in the order of the ids, but for ids that agree in their first 1,024 bytes.
    """
    if len(record_id) * 4 <= KEY_LIMIT_BYTES:
        return record_id
    encoded = record_id.encode()
    if len(encoded) <= KEY_LIMIT_BYTES:
        return record_id
    # 1,024 bytes of the id are kept whole, so that no short id can have this key; a character cut in two is kept too.
    cut = KEY_LIMIT_BYTES
    while encoded[cut] & 0xC0 == 0x80:
        cut += 1
    return encoded[:cut].decode() + hashlib.sha256(encoded).hexdigest()


def storable(text: str) -> bool:
    """Whether any stored text can equal `text`: none has a NUL, or half of a surrogate pair."""
    if "\0" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class Batch(Struct, frozen=True):
    """The records of one call, column by column; a refused record is only in `refused`, at its place in the call."""

    keys: list[str]
    starts: list[int]
    stops: list[int | None]
    facets: list[Signature]
    bodies: list[bytes]
    refused: frozenset[int]


def batch_of(records: Sequence[Record]) -> Batch:
    """The rows of `records`, facets still as signatures."""
    bodies = [_body(record) for record in records]
    refused = frozenset(place for place, body in enumerate(bodies) if body is None)
    if refused:
        records = [record for place, record in enumerate(records) if place not in refused]
    return Batch(
        keys=[key_of(record.record_id) for record in records],
        starts=[microseconds(record.start_time) for record in records],
        stops=[None if record.stop_time is None else microseconds(record.stop_time) for record in records],
        facets=[signature_of(record.meta) for record in records],
        bodies=[body for body in bodies if body is not None],
        refused=refused,
    )


def _body(record: Record) -> bytes | None:
    try:
        body = encode_record(record)
    except UnicodeEncodeError:
        return None
    if b"\\u0000" in body and record_fault(record) is not None:
        return None
    return body


def outcomes(batch: Batch, new: Collection[str], stored: Mapping[str, bytes]) -> list[Stored]:
    """The answers to a call: `new` are the keys it added, `stored` the bodies under its other keys."""
    answers: list[Stored] = []
    if len(new) == len(batch.keys):
        answers = [Stored.NEW] * len(batch.keys)
    else:
        there = dict(stored)
        for key, body in zip(batch.keys, batch.bodies, strict=True):
            if key not in there and key in new:
                there[key] = body
                answers.append(Stored.NEW)
            else:
                answers.append(Stored.SAME if repeats(there[key], body) else Stored.CONFLICT)
    for place in sorted(batch.refused):
        answers.insert(place, Stored.REFUSED)
    return answers


class _Stored(Struct, frozen=True):
    """What stands in a body. Without the rules for names: those of the day when it was stored count."""

    record_id: str
    components: tuple[_StoredComponent, ...]
    start_time: datetime
    meta: dict[str, tuple[str, ...]] | None
    stop_time: datetime | None


class _StoredComponent(Struct, frozen=True):
    name: str
    amount: int
    scores: tuple[_StoredScore, ...]


class _StoredScore(Struct, frozen=True):
    name: str
    value: float


_decode = msgspec.json.Decoder(_Stored).decode


def repeats(held: bytes, sent: bytes) -> bool:
    """Whether the body `sent` says nothing that the stored body `held` does not say: the order of meta keys is none.

    A job that was sent while it ran, then stopped, and is now sent again as it was at first, is a repeat, too; and so
    is one that has got components of its summary since.
    """
    if held == sent:
        return True
    stored, given = without_joined(_decode(held)), _decode(sent)
    return stored == given or (given.stop_time is None and replace(stored, stop_time=None) == given)


def with_stop(body: bytes, stop_time: datetime) -> bytes:
    """The body of the same record with another stop time."""
    return encode_record(replace(record_of(body), stop_time=stop_time))


def record_of(body: bytes) -> Record:
    """The record that a stored body is of."""
    held = _decode(body)
    components = tuple(
        Component(part.name, part.amount, tuple(Score(score.name, score.value) for score in part.scores))
        for part in held.components
    )
    return Record(held.record_id, components, held.start_time, held.meta, held.stop_time)


class Change(Struct, frozen=True):
    """A stored record's new stop time and body, and what was before."""

    seq: int
    stop_us: int
    body: bytes
    key: str
    before: bytes
    edit: Edit


class Held(Struct, frozen=True):
    """A stored record, as far as stopping it needs."""

    seq: int
    start_us: int
    body: bytes


def stopped(stops: Sequence[RecordStop], held: Mapping[str, Held]) -> tuple[list[Stopped], list[Change]]:
    """The answers to a call of `stop`, and what is to be written; `held` has the stored records among those named."""
    answers: list[Stopped] = []
    latest: dict[str, RecordStop] = {}
    for stop in stops:
        key = key_of(stop.record_id) if storable(stop.record_id) else None
        if key is None or key not in held:
            answers.append(Stopped.UNKNOWN)
        elif stop.stop_time < from_microseconds(held[key].start_us):
            answers.append(Stopped.BEFORE_START)
        else:
            latest[key] = stop
            answers.append(Stopped.DONE)
    changes = []
    for key, stop in latest.items():
        before = held[key].body
        body = with_stop(before, stop.stop_time)
        if body != before:
            changes.append(Change(held[key].seq, microseconds(stop.stop_time), body, key, before, stop.edit))
    return answers, changes
