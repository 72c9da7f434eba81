"""Colmet's messages: records of fixed size, one after the other, with nothing around them.

Source of the fact: the messages of colmet 0.6.10, read byte by byte. A record is little-endian and packed: 255 bytes
class name, 255 bytes host name, job id and time stamp (seconds since 1970) as 64 bits each, then the counters of the
class in the order of `colmet_columns`. Texts are padded with NUL. There is no version, length, count or check sum.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from msgspec import Struct

from jobmeter.wire.colmet_columns import RECORDS

INVOLVED_BYTES = 8192
NAME_BYTES = 255
STAMP_SECONDS_MAX = (2**63 - 1) // 10**9
HEAD = f"<{NAME_BYTES}s{NAME_BYTES}sQQ"

FORMATS = {
    "taskstats_default": "8QI21Q",
    "procstats_default": f"58Q5f{INVOLVED_BYTES}s",
    "jobprocstats_default": "10q",
    "perfhwstats_default": "5q",
    "nvidiastats_default": "7q",
    "RAPLstats_default": f"24q{INVOLVED_BYTES}s",
    "infinibandstats_default": f"4q{INVOLVED_BYTES}s",
    "lustrestats_default": f"4Q{INVOLVED_BYTES}s",
    "ipmipowerstats_default": f"1q{INVOLVED_BYTES}s",
    "temperaturestats_default": "6q",
}
"""The types of the counters of each class, in the notation of `struct`."""

_STRUCTS = {name: struct.Struct(HEAD + form) for name, form in FORMATS.items()}
_BY_PADDED = {name.encode(): (name, layout) for name, layout in _STRUCTS.items()}
_COLUMNS = {record.name: tuple(column.name for column in record.columns) for record in RECORDS}
_INVOLVED = frozenset(record.name for record in RECORDS if record.columns[-1].name == "involved_jobs")
_LIMITS = {"Q": (0, 2**64 - 1), "q": (-(2**63), 2**63 - 1), "I": (0, 2**32 - 1)}

Value = int | float | str | None


class ColmetRecord(Struct, frozen=True):
    """One record. `values` stand in the order of the columns of its class; None is what the node could not tell.

    None and a negative number are one on the wire where the column has a sign, None and 0 where it has not.
    """

    kind: str
    host: str
    job: int
    stamp_seconds: int
    values: tuple[Value, ...]


class Decoded(Struct, frozen=True):
    """The records of a message up to the first that is none; `fault` tells why, or which could not be taken."""

    records: tuple[ColmetRecord, ...]
    fault: str | None = None


def columns(kind: str) -> tuple[str, ...]:
    """The names of the columns of a class, in the order of the wire."""
    return _COLUMNS[kind]


def types(kind: str) -> tuple[str, ...]:
    """The type of each column of a class: Q, q, I or f for a number, s for text."""
    return _TYPES[kind]


def size_bytes(kind: str) -> int:
    """How long a record of a class is."""
    return _STRUCTS[kind].size


def is_colmet(message: bytes) -> bool:
    """Whether a message begins like one of Colmet's."""
    return _class_of(message, 0) is not None


def encode(records: Iterable[ColmetRecord]) -> bytes:
    """The message. Texts that are too long are cut, a list of jobs after a whole id; numbers are brought in range."""
    return b"".join(_packed(record) for record in records)


def decode(message: bytes) -> Decoded:
    """The records of anybody's message. An unknown class or a cut record ends it, as nothing tells its length.

    A record of a time that nanoseconds in 64 bits cannot tell is left out.
    """
    found: list[ColmetRecord] = []
    fault = None
    offset = 0
    while offset < len(message):
        known = _class_of(message, offset)
        if known is None:
            return Decoded(tuple(found), f"no class of Colmet at byte {offset}")
        kind, layout = known
        if offset + layout.size > len(message):
            return Decoded(
                tuple(found), f"{kind} at byte {offset} is cut: {len(message) - offset} of {layout.size} bytes"
            )
        _, host, job, stamp, *values = layout.unpack_from(message, offset)
        offset += layout.size
        if stamp > STAMP_SECONDS_MAX:
            fault = f"{kind} that ends at byte {offset} is of second {stamp}, beyond the year 2262"
            continue
        if kind in _INVOLVED:
            values[-1] = _text(values[-1])
        found.append(ColmetRecord(kind, _text(host), job, stamp, tuple(values)))
    return Decoded(tuple(found), fault)


def _class_of(message: bytes, offset: int) -> tuple[str, struct.Struct] | None:
    return _BY_PADDED.get(message[offset : offset + NAME_BYTES].rstrip(b"\0"))


def _packed(record: ColmetRecord) -> bytes:
    values = (
        _number(value, form) if form != "s" else _involved(str(value or "[]"))
        for value, form in zip(record.values, _TYPES[record.kind], strict=True)
    )
    head = (record.kind.encode(), _cut(record.host), _number(record.job, "Q"), _number(record.stamp_seconds, "Q"))
    return _STRUCTS[record.kind].pack(*head, *values)


def _number(value: Value, form: str) -> int | float:
    if form == "f":
        return 0.0 if value is None else float(value)
    if value is None:
        return -1 if form == "q" else 0
    low, high = _LIMITS[form]
    return min(max(int(value), low), high)


def _cut(text: str) -> bytes:
    return text.encode("utf-8", "replace")[:NAME_BYTES].decode("utf-8", "ignore").encode()


def _involved(text: str) -> bytes:
    raw = text.encode()
    if len(raw) > INVOLVED_BYTES:
        raw = raw[: raw.rfind(b",", 0, INVOLVED_BYTES)] + b"]"
    return raw


def _text(raw: bytes) -> str:
    return raw.partition(b"\0")[0].decode("utf-8", "replace")


def _types_of(form: str) -> tuple[str, ...]:
    found: list[str] = []
    number = ""
    for letter in form:
        if letter.isdigit():
            number += letter
        else:
            found += [letter] * (1 if letter == "s" else int(number or "1"))
            number = ""
    return tuple(found)


_TYPES = {name: _types_of(form) for name, form in FORMATS.items()}
