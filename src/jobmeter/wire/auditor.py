"""The JSON of AUDITOR's record API, all client generations: bodies of writes in, records out.

Reading has two passes. The first lets msgspec do everything and takes a microsecond; only a body that it refuses is
read again with AUDITOR's relaxed rules for times (chrono's relaxed RFC 3339) and for names beyond 256 code points, and
that second pass also finds the field and the reason of a real fault.

A key that stands twice in one JSON object counts with its last value, and keys that AUDITOR does not know are passed
over. Positional arrays in place of objects, which AUDITOR would take, are refused: no client sends them.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
from msgspec import Struct

from jobmeter.model.job import JobIdentity
from jobmeter.model.record import AMOUNT_MAX, Component, MetaMap, Record, RecordStop, Score, record_fault, shown


class BadRecord(ValueError):  # noqa: N818 - what it is, not that it is an error
    """A body that can never be stored: `field` is the path within the record, `reason` a phrase."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.field = field
        self.reason = reason


_encode = msgspec.json.Encoder().encode
_encode_lines = msgspec.json.Encoder().encode_lines
_record = msgspec.json.Decoder(Record).decode
_records = msgspec.json.Decoder(list[Record]).decode
_raws = msgspec.json.Decoder(list[msgspec.Raw]).decode
_anything = msgspec.json.Decoder().decode
_ESCAPE = re.compile(rb"\\.")
_scanner = json.JSONDecoder(parse_int=str, parse_float=str, strict=False)
_FINE_NUMBER = re.compile(rb"\.\d{7}")
_FINE_TIME = re.compile(rb":\d\d\.\d{7}")
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class _Wire(Struct):
    """A record as it stands in answers, keys in AUDITOR's order."""

    record_id: str
    meta: MetaMap | None
    components: tuple[Component, ...]
    start_time: datetime | str
    stop_time: datetime | str | None
    runtime: int | None


class _Middle(Struct, gc=False):
    """What stands between the id and the times."""

    meta: MetaMap | None
    components: tuple[Component, ...]


def encode_record(record: Record) -> bytes:
    """The record as one JSON object, as in answers of `GET /records`: absent is null, times are UTC with `Z`.

    A backslash is written as `\\u005c`: the asynchronous client of 0.11.2 takes the quote behind `\\\\` for an escaped
    one, and then drops this record and all after it without an error.
    """
    stop = record.stop_time
    encoded = _encode(
        _Wire(
            record.record_id,
            record.meta,
            record.components,
            _shortest(record.start_time),
            None if stop is None else _shortest(stop),
            record.runtime_seconds,
        )
    )
    return encoded if b"\\\\" not in encoded else _ESCAPE.sub(_plain_backslash, encoded)


def encode_middles(records: Iterable[Record]) -> list[bytes]:
    """Of each record the part of `encode_record` from `"meta"` to the end of `"components"`; all at once is quicker."""
    lines = _encode_lines([_Middle(record.meta, record.components) for record in records])
    if b"\\\\" in lines:
        lines = _ESCAPE.sub(_plain_backslash, lines)
    # A line break stands in JSON only between the objects.
    return lines[1:-2].split(b"}\n{") if lines else []


def encode_sent(record: Record) -> bytes:
    """The record as it is sent: with the key `job_identity` where it has one, which AUDITOR's servers pass over."""
    encoded = encode_record(record)
    if record.job_identity is None:
        return encoded
    identity = _encode(record.job_identity)
    if b"\\\\" in identity:
        identity = _ESCAPE.sub(_plain_backslash, identity)
    return encoded[:-1] + b',"job_identity":' + identity + b"}"


def _plain_backslash(escape: re.Match[bytes]) -> bytes:
    return b"\\u005c" if escape[0] == b"\\\\" else escape[0]


def _shortest(moment: datetime) -> datetime | str:
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    if moment.microsecond and moment.microsecond % 1000 == 0:
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return moment


def decode_record(body: bytes) -> Record:
    """The record in the body of a `POST /record`. Raises BadRecord."""
    try:
        if _is_coarse(body) and _is_utc(record := _record(body)):
            return _checked(record)
    except (*_UNREADABLE, BadRecord):
        pass
    return _relaxed_record(_parsed(body))


def decode_records(body: bytes) -> list[Record | BadRecord]:
    """The elements of the body of a `POST /records`, each a record or the reason why it is none.

    Raises BadRecord when the body is not a JSON array at all.
    """
    try:
        if _is_coarse(body) and all(map(_is_utc, records := _records(body))):
            if not _has_plain_names(body):
                return [_checked(record) for record in records]
            return [record if _needs_no_check(record) else _checked(record) for record in records]
    except (*_UNREADABLE, BadRecord):
        pass
    return [_record_or_fault(raw) for raw in split_array(body)]


def split_array(body: bytes) -> Sequence[bytes]:
    """The elements of a JSON array as they stand in the body. Raises BadRecord when it is not a JSON array.

    An element that no JSON value can have, such as a lone surrogate or `NaN`, is still one element, so that it spoils
    no other.
    """
    try:
        return [bytes(raw) for raw in _raws(body)]
    except msgspec.ValidationError:
        raise BadRecord("", "the body is not a JSON array") from None
    except _UNREADABLE as fault:
        try:
            return _scan_array(body.decode(errors="surrogateescape"))
        except (ValueError, RecursionError):
            raise _unreadable(fault) from None


def _scan_array(text: str) -> list[bytes]:
    """The elements by Python's scanner, which is slower and takes more than JSON. Raises ValueError, RecursionError."""
    at = _skip(text, 0)
    if text[at : at + 1] != "[":
        raise ValueError("not an array")
    elements: list[bytes] = []
    at = _skip(text, at + 1)
    while elements or text[at : at + 1] != "]":
        _, end = _scanner.raw_decode(text, at)
        elements.append(text[at:end].encode(errors="surrogateescape"))
        at = _skip(text, end)
        if text[at : at + 1] == "]":
            break
        if text[at : at + 1] != ",":
            raise ValueError("elements are not parted by commas")
        at = _skip(text, at + 1)
    if _skip(text, at + 1) != len(text):
        raise ValueError("more than an array")
    return elements


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\n\r":
        at += 1
    return at


def decode_stop(body: bytes) -> RecordStop:
    """What the body of a `PUT /record` changes. Raises BadRecord.

    `record_id`, `components` and `stop_time` are required and all fields are checked, as AUDITOR does, though only the
    stop time is used.
    """
    value = _parsed(body)
    if not isinstance(value, dict):
        raise BadRecord("", "the body is not a JSON object")
    if value.get("stop_time") is None:
        raise BadRecord("stop_time", "is missing")
    stop = _relaxed_time(value, "stop_time")
    checked = _relaxed_record({**value, "start_time": value["stop_time"]})
    return RecordStop(checked.record_id, stop)


def _record_or_fault(raw: bytes) -> Record | BadRecord:
    try:
        return decode_record(raw)
    except BadRecord as fault:
        return fault


def _checked(record: Record) -> Record:
    if (fault := record_fault(record)) is not None:
        raise BadRecord(*fault)
    return record


def _parsed(body: bytes) -> Any:
    try:
        return _anything(body)
    except _UNREADABLE as fault:
        raise _unreadable(fault) from None


def _unreadable(fault: Exception) -> BadRecord:
    if isinstance(fault, RecursionError):
        return BadRecord("", "the body is nested too deeply")
    return BadRecord("", f"the body is not valid JSON: {fault}")


def _is_coarse(body: bytes) -> bool:
    """Whether no time is finer than a microsecond, which msgspec would round and AUDITOR cuts off.

    Scores with many digits have no colon before. Escapes of ASCII could hide a digit; nobody sends them for long.
    """
    if b"\\" in body and b"\\u00" in body:
        return False
    return _FINE_NUMBER.search(body) is None or _FINE_TIME.search(body) is None


def _is_utc(record: Record) -> bool:
    """Whether the times need no shift to UTC, which could take them out of the years 1 to 9999."""
    return record.start_time.tzinfo is UTC and (record.stop_time is None or record.stop_time.tzinfo is UTC)


def _has_plain_names(body: bytes) -> bool:
    """Whether msgspec's bounds of length are all that its names have to keep: then looking at each of them is saved.

    Without escapes and beyond-ASCII text, of what `name_fault` forbids only blanks are left, and they begin with one.
    """
    return body.isascii() and b"\\" not in body and b'" ' not in body


def _needs_no_check(record: Record) -> bool:
    """Whether a record with plain names is without fault for sure."""
    return record.job_identity is None and (record.stop_time is None or record.stop_time >= record.start_time)


def _relaxed_record(value: Any) -> Record:
    if not isinstance(value, dict):
        raise BadRecord("", "the body is not a JSON object")
    meta = value.get("meta")
    components = _required(value, "components", "")
    if not isinstance(components, list):
        raise BadRecord("components", "is not a list")
    record = Record(
        record_id=_text(_required(value, "record_id", ""), "record_id"),
        components=tuple(_component(item, f"components[{number}]") for number, item in enumerate(components)),
        start_time=_relaxed_time(value, "start_time"),
        meta=None if meta is None else _meta(meta),
        stop_time=None if value.get("stop_time") is None else _relaxed_time(value, "stop_time"),
        job_identity=None if value.get("job_identity") is None else _identity(value["job_identity"]),
    )
    return _checked(record)


def _identity(value: Any) -> JobIdentity:
    try:
        return msgspec.convert(value, JobIdentity)
    except msgspec.ValidationError as fault:
        raise BadRecord("job_identity", f"is no identity of a job: {fault}") from None


def _required(value: dict[str, Any], key: str, where: str) -> Any:
    if key not in value:
        raise BadRecord(f"{where}{key}", "is missing")
    return value[key]


def _text(value: Any, field: str) -> str:
    if not isinstance(value, str):
        raise BadRecord(field, "is not a string")
    return value


def _meta(value: Any) -> MetaMap:
    if not isinstance(value, dict):
        raise BadRecord("meta", "is neither an object nor null")
    meta: MetaMap = {}
    for key, values in value.items():
        field = f"meta[{shown(key)}]"
        if not isinstance(values, list):
            raise BadRecord(field, "is not a list of strings")
        meta[key] = tuple(_text(item, f"{field}[{number}]") for number, item in enumerate(values))
    return meta


def _component(value: Any, field: str) -> Component:
    if not isinstance(value, dict):
        raise BadRecord(field, "is not an object")
    amount = _required(value, "amount", f"{field}.")
    if not isinstance(amount, int) or isinstance(amount, bool) or not 0 <= amount <= AMOUNT_MAX:
        raise BadRecord(f"{field}.amount", f"is not a whole number from 0 to {AMOUNT_MAX}")
    scores = _required(value, "scores", f"{field}.")
    if not isinstance(scores, list):
        raise BadRecord(f"{field}.scores", "is not a list")
    return Component(
        name=_text(_required(value, "name", f"{field}."), f"{field}.name"),
        amount=amount,
        scores=tuple(_score(item, f"{field}.scores[{number}]") for number, item in enumerate(scores)),
    )


def _score(value: Any, field: str) -> Score:
    if not isinstance(value, dict):
        raise BadRecord(field, "is not an object")
    number = _required(value, "value", f"{field}.")
    if not isinstance(number, int | float) or isinstance(number, bool):
        raise BadRecord(f"{field}.value", "is not a number")
    try:
        amount = float(number)
    except OverflowError:
        amount = math.inf
    if not (amount >= 0 and math.isfinite(amount)):
        raise BadRecord(f"{field}.value", "is negative or not finite")
    return Score(name=_text(_required(value, "name", f"{field}."), f"{field}.name"), value=amount)


def _relaxed_time(value: dict[str, Any], key: str) -> datetime:
    text = _text(_required(value, key, ""), key)
    try:
        return parse_time(text)
    except ValueError as fault:
        raise BadRecord(key, str(fault)) from None


_TIME = re.compile(
    r"""\s*(?P<year>[0-9]{4}|[+-][0-9]{4,9}) \s*-\s* (?P<month>[0-9]{1,2}) \s*-\s* (?P<day>[0-9]{1,2})
        [Tt\ ]\s*
        (?P<hour>[0-9]{1,2}) \s*:\s* (?P<minute>[0-9]{1,2}) \s*:\s* (?P<second>[0-9]{1,2}) (?:\.(?P<fraction>[0-9]+))?
        \s* (?: (?P<utc>[Zz]|[Uu][Tt][Cc])
               | (?P<sign>[+\-\u2212]) (?P<offset_hour>[0-9]{2}) [\s:]* (?P<offset_minute>[0-9]{2}) ) \s*""",
    re.VERBOSE,
)


def parse_time(text: str) -> datetime:
    """The UTC moment that `text` names, by chrono's relaxed RFC 3339; finer than a microsecond is cut off.

    Raises ValueError with a phrase. A leap second is the last microsecond's neighbour: the following second. Narrower
    than chrono in one thing: years have four digits, as year 24 instead of 2024 is an error and no time of a job.
    """
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:64]!r} is not a date and time with a zone, such as 2024-01-31T12:00:00Z")
    part = match.groupdict()
    second = int(part["second"])
    leap = second == 60
    zone = UTC
    try:
        if part["utc"] is None:
            hours, minutes = int(part["offset_hour"]), int(part["offset_minute"])
            offset = timedelta(hours=hours, minutes=minutes if minutes < 60 else 24 * 60)
            zone = timezone(offset if part["sign"] == "+" else -offset)
        moment = datetime(
            int(part["year"]),
            int(part["month"]),
            int(part["day"]),
            int(part["hour"]),
            int(part["minute"]),
            59 if leap else second,
            int((part["fraction"] or "0")[:6].ljust(6, "0")),
            tzinfo=zone,
        )
        return (moment + timedelta(seconds=int(leap))).astimezone(UTC)
    except (ValueError, OverflowError) as fault:
        raise ValueError(f"{text[:64]!r} is not a date and time that can be stored: {fault}") from None
