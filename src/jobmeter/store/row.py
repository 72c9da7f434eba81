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
from jobmeter.store.core import KEY_LIMIT_BYTES, core_in, cores_of
from jobmeter.store.facet import Signature, signature_of
from jobmeter.wire.auditor import encode_record


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

    records: Sequence[Record]
    keys: Sequence[str]
    starts: Sequence[int]
    stops: Sequence[int | None]
    facets: Sequence[Signature]
    cores: Sequence[bytes]
    refused: frozenset[int]

    def body(self, place: int) -> bytes:
        """The body of one of `records`."""
        return encode_record(self.records[place])


def batch_of(records: Sequence[Record]) -> Batch:
    """The rows of `records`, facets still as signatures."""
    try:
        batch = _batch(records, frozenset())
    except UnicodeEncodeError:
        batch = None
    if batch is not None and not any(b"\\u0000" in core for core in batch.cores):
        return batch
    refused = frozenset(place for place, record in enumerate(records) if _is_refused(record))
    return _batch([record for place, record in enumerate(records) if place not in refused], refused)


def _batch(records: Sequence[Record], refused: frozenset[int]) -> Batch:
    keys = [key_of(record.record_id) for record in records]
    starts = [microseconds(record.start_time) for record in records]
    stops = [None if record.stop_time is None else microseconds(record.stop_time) for record in records]
    facets = [signature_of(record.meta) for record in records]
    return Batch(records, keys, starts, stops, facets, cores_of(records, keys, starts, stops), refused)


def _is_refused(record: Record) -> bool:
    """Whether no database can hold it."""
    try:
        body = encode_record(record)
    except UnicodeEncodeError:
        return True
    return b"\\u0000" in body and record_fault(record) is not None


def outcomes(batch: Batch, new: Collection[str], stored: Mapping[str, bytes]) -> list[Stored]:
    """The answers to a call: `new` are the keys it added, `stored` the bodies under its other keys."""
    if len(new) == len(batch.keys):
        answers = [Stored.NEW] * len(batch.keys)
    else:
        added: dict[str, int] = {}
        answers = []
        for place, key in enumerate(batch.keys):
            if key not in stored and added.setdefault(key, place) == place:
                answers.append(Stored.NEW)
                continue
            held = stored[key] if key in stored else batch.body(added[key])
            answers.append(Stored.SAME if repeats(held, batch.body(place)) else Stored.CONFLICT)
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
    start_us: int
    stop_us: int
    body: bytes
    key: str
    before: bytes
    edit: Edit

    @property
    def core(self) -> bytes:
        """What is to be stored of the body."""
        return core_in(self.body, self.key, self.start_us, self.stop_us)


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
            stop_us = microseconds(stop.stop_time)
            changes.append(Change(held[key].seq, held[key].start_us, stop_us, body, key, before, stop.edit))
    return answers, changes
