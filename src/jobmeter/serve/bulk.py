"""Many records in one body: each is judged for itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from types import MappingProxyType

import msgspec
from msgspec import Struct

from jobmeter.model.access import Asker, Role
from jobmeter.model.outcome import THERE, Stored
from jobmeter.model.record import Record
from jobmeter.serve.meter import Fate
from jobmeter.wire.auditor import BadRecord, decode_record, decode_records, split_array

THREAD_FROM_BYTES = 65_536
"""Bodies from this size are decoded in a thread, so that the others need not wait."""
CONFLICT_REASON = "a record with this record_id and other content is stored already"

UNSTORABLE_REASON = "the database cannot hold this record"

_FATES = MappingProxyType({Stored.NEW: Fate.NEW, Stored.SAME: Fate.SAME, Stored.CONFLICT: Fate.CONFLICT})

REFUSED = (Fate.INVALID, Fate.CONFLICT, Fate.FORBIDDEN)
"""What is kept among the dead letters; a conflict only where there is no place for conflicts."""

Item = Record | BadRecord
Put = Callable[[Sequence[Record]], Awaitable[list[Stored]]]
"""What stores records, and settles or keeps conflicts."""


class ForbiddenRecord(BadRecord):
    """A good record that its sender may not write; it is treated like one that is not good."""


def granted(asker: Asker, items: Sequence[Item]) -> Sequence[Item]:
    """The items, with what the asker may not write as ForbiddenRecord."""
    if asker.may_everywhere(Role.WRITE):
        return items
    return [item if isinstance(item, BadRecord) else _granted(asker, item) for item in items]


def _granted(asker: Asker, record: Record) -> Item:
    fault = asker.fault(Role.WRITE, record.record_id, record.meta)
    return record if fault is None else ForbiddenRecord(fault[0], f"{asker.name} may not write this: {fault[1]}")


class Judged(Struct, frozen=True):
    """What became of one record of many; `raw` is its JSON where it was refused."""

    index: int
    outcome: Fate
    record_id: str | None = None
    field: str | None = None
    reason: str | None = None
    raw: bytes = b""

    @property
    def sentence(self) -> str:
        """Field and reason in one."""
        return f"{self.field}: {self.reason}" if self.field else str(self.reason)


def fate_of(stored: Stored) -> Fate:
    """What the store's answer means for the record. Any answer but the three good ones refuses it for good."""
    return _FATES.get(stored, Fate.INVALID)


class _Id(Struct):
    record_id: str | None = None


async def decoded(body: bytes) -> list[Item]:
    """The elements of a JSON array of records. Raises BadRecord when it is none."""
    return decode_records(body) if len(body) < THREAD_FROM_BYTES else await asyncio.to_thread(decode_records, body)


async def decoded_lines(lines: Sequence[bytes], size_bytes: int) -> list[Item]:
    """The records of JSON lines."""
    if size_bytes < THREAD_FROM_BYTES:
        return [_line(line) for line in lines]
    return await asyncio.to_thread(lambda: [_line(line) for line in lines])


def _line(line: bytes) -> Item:
    try:
        return decode_record(line)
    except BadRecord as fault:
        return fault


def raw_elements(body: bytes) -> Sequence[bytes]:
    """The elements of a JSON array as they were sent."""
    return split_array(body)


async def judge(put: Put, items: Sequence[Item], raws: Callable[[], Sequence[bytes]]) -> list[Judged]:
    """Store what can be stored, and say for each item what became of it. Raises StoreUnavailable.

    `raws` gives the JSON of all items; it is asked only when something was refused.
    """
    records = [item for item in items if isinstance(item, Record)]
    stored = await put(records) if records else []
    if stored.count(Stored.NEW) == len(items):
        return [Judged(index, Fate.NEW) for index in range(len(items))]
    if len(records) == len(items) and all(answer in THERE for answer in stored):
        return [Judged(index, fate_of(answer)) for index, answer in enumerate(stored)]
    answers = iter(stored)
    texts = raws()
    return [
        _refused(index, item, texts[index])
        if isinstance(item, BadRecord)
        else _kept(index, item, fate_of(next(answers)), texts[index])
        for index, item in enumerate(items)
    ]


def _kept(index: int, record: Record, fate: Fate, raw: bytes) -> Judged:
    if fate is Fate.CONFLICT:
        return Judged(index, fate, record.record_id, "record_id", CONFLICT_REASON, raw)
    if fate is Fate.INVALID:
        return Judged(index, fate, record.record_id, None, UNSTORABLE_REASON, raw)
    return Judged(index, fate)


def _refused(index: int, fault: BadRecord, raw: bytes) -> Judged:
    fate = Fate.FORBIDDEN if isinstance(fault, ForbiddenRecord) else Fate.INVALID
    return Judged(index, fate, _record_id(raw), fault.field or None, fault.reason, raw)


def _record_id(raw: bytes) -> str | None:
    try:
        return msgspec.json.decode(raw, type=_Id).record_id
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
