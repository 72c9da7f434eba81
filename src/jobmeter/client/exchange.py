"""Requests and what their answers mean, without any input or output: the two clients share it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Generic, TypeVar
from urllib.parse import quote

import httpx
import msgspec
from msgspec import Struct

from jobmeter.client.errors import (
    BrokenAnswerError,
    ClientError,
    ConflictError,
    InvalidError,
    NotAllowedError,
    NotFoundError,
    RefusedError,
    ServerAwayError,
    TimedOutError,
    TooLargeError,
    UnavailableError,
)
from jobmeter.client.outcome import RecordOutcome
from jobmeter.client.query import Query
from jobmeter.model.record import Record
from jobmeter.wire.auditor import BadRecord, decode_record, encode_record
from jobmeter.wire.verdict import BadVerdicts, decode_verdicts

LINES = "application/x-ndjson"
JSON = "application/json"

GROUP_RECORDS = 1000
GROUP_BYTES = 3 * 2**19
"""Bulks are cut below both: servers take 2 MiB unless told otherwise."""

_REASON_MAX = 1000

T = TypeVar("T")


class Page(Struct, frozen=True):
    """A page of records; `next` is the cursor of the one behind it, None at the end."""

    records: tuple[Record, ...]
    next: str | None


class Letter(Struct, frozen=True):
    """A write that the server refused for good, as `GET /v2/dead-letters` lists it."""

    number: int | None
    origin: str
    reason: str
    received: datetime
    size_bytes: int
    body: str | None
    body_base64: str | None
    cut: bool


class TotalGroup(Struct, frozen=True):
    """One group: the parts of its key (None: the records have no such value), and what was measured of it.

    `counted` says of how many terms each value was made.
    """

    key: list[str | int | None]
    values: list[int | float | str | None]
    counted: list[int]


class Totals(Struct, frozen=True):
    """Sums over records by group; `measures` names the values of each group."""

    group_by: list[str]
    measures: list[str]
    groups: list[TotalGroup]


class Call(Struct, Generic[T]):
    """One request, and how the body of its good answer is read."""

    method: str
    path: str
    read: Callable[[bytes], T]
    body: bytes | None = None
    accept: str = JSON
    safe: bool = True
    """Whether it may be sent again when nobody knows what became of it."""

    @property
    def headers(self) -> dict[str, str]:
        """The headers of this request."""
        headers = {"Accept": self.accept}
        if self.body is not None:
            headers["Content-Type"] = JSON
        return headers


def health() -> Call[None]:
    """Whether the server's database answers."""
    return Call("GET", "/health_check", _nothing)


def stop(record_id: str, stop_time: datetime) -> Call[None]:
    """Set the stop time of a record."""
    if stop_time.tzinfo is None:
        raise ValueError("a time needs a zone, such as datetime.UTC")
    return Call("PUT", "/record", _nothing, stop_body(record_id, stop_time))


def stop_body(record_id: str, stop_time: datetime) -> bytes:
    """The body that sets a stop time."""
    return msgspec.json.encode({"record_id": record_id, "components": [], "stop_time": stop_time})


def one(record_id: str, as_of: datetime | None = None) -> Call[Record]:
    """One record by its id, as it is or as it was at an instant."""
    path = f"/record/{quote(record_id, safe='')}"
    return Call("GET", path if as_of is None else f"{path}?{Query().as_of(as_of)}", _record)


def page(query: Query, size: int, cursor: str | None) -> Call[Page]:
    """A page of the records that a query asks for."""
    parts = [str(query.limit(size)), "" if cursor is None else f"cursor={quote(cursor, safe='')}"]
    return Call("GET", f"/v2/records?{'&'.join(part for part in parts if part)}", _page)


def listing(query: Query | str) -> Call[bytes]:
    """All records that a query asks for, as lines; the body is read by `Lines`."""
    text = str(query)
    return Call("GET", f"/records?{text}" if text else "/records", bytes, accept=LINES)


def totals(query: Query, **parts: Sequence[str]) -> Call[Totals]:
    """Sums over the records that a query asks for; `parts` are the lists behind group_by, sum, min and max."""
    told = [f"{name}={quote(','.join(values), safe=',*')}" for name, values in parts.items() if values]
    return Call("GET", f"/v2/totals?{'&'.join(filter(None, (str(query), *told)))}", lambda body: _decoded(body, Totals))


def letters(limit: int) -> Call[list[Letter]]:
    """The newest dead letters."""
    return Call("GET", f"/v2/dead-letters?limit={limit}", lambda body: _decoded(body, list[Letter]))


class Group(Struct, frozen=True):
    """Records that go in one request, as bodies, with their ids."""

    ids: tuple[str, ...]
    bodies: tuple[bytes, ...]

    @property
    def call(self) -> Call[list[RecordOutcome]]:
        """Write them, and learn what became of each."""
        return Call("POST", "/v2/records", self._outcomes, b"[" + b",".join(self.bodies) + b"]")

    def halves(self) -> tuple[Group, Group]:
        """The group in two."""
        middle = len(self.ids) // 2
        return Group(self.ids[:middle], self.bodies[:middle]), Group(self.ids[middle:], self.bodies[middle:])

    def too_large(self, error: RefusedError) -> list[RecordOutcome]:
        """What to say of a single record that the server finds too large."""
        return [RecordOutcome(self.ids[0], "invalid", None, str(error))]

    def _outcomes(self, body: bytes) -> list[RecordOutcome]:
        try:
            verdicts = decode_verdicts(body)
        except BadVerdicts as fault:
            raise BrokenAnswerError(f"the answer is not understood: {fault}") from None
        if len(verdicts) != len(self.ids):
            raise BrokenAnswerError(f"the answer tells of {len(verdicts)} records instead of {len(self.ids)}")
        return [
            RecordOutcome(record_id, verdict.outcome, verdict.field, verdict.reason)
            for record_id, verdict in zip(self.ids, verdicts, strict=True)
        ]


def groups(records: Iterable[Record]) -> Iterator[Group]:
    """The records in groups that fit a request."""
    for items in cut(((record.record_id, encode_record(record)) for record in records), lambda item: len(item[1])):
        yield Group(tuple(record_id for record_id, _ in items), tuple(body for _, body in items))


def cut(items: Iterable[T], size_of: Callable[[T], int]) -> Iterator[list[T]]:
    """The items in runs that fit a request; one that is larger by itself stands alone."""
    run: list[T] = []
    size = 0
    for item in items:
        more = size_of(item) + 1
        if run and (len(run) == GROUP_RECORDS or size + more > GROUP_BYTES):
            yield run
            run, size = [], 0
        run.append(item)
        size += more
    if run:
        yield run


def refusal(status: int, headers: httpx.Headers, body: bytes) -> RefusedError:
    """What an answer that is not good means."""
    reason, field = _told(body)
    if status in (401, 403):
        return NotAllowedError(status, reason, field)
    if status in (404, 405):
        return NotFoundError(status, reason, field)
    if status == 409:
        return ConflictError(status, reason, field)
    if status == 413:
        return TooLargeError(status, reason, field)
    if status == 429 or status >= 500:
        asked = headers.get("retry-after", "")
        return UnavailableError(status, reason, field, float(asked) if asked.isascii() and asked.isdigit() else 0.0)
    if 300 <= status < 400:
        return RefusedError(status, f"sends elsewhere ({headers.get('location')}), which is not followed")
    return InvalidError(status, reason, field)


def away(address: str, fault: httpx.HTTPError) -> ServerAwayError:
    """What a fault of the transport means."""
    told = f"{address}: {str(fault) or type(fault).__name__}"
    return TimedOutError(told) if isinstance(fault, httpx.TimeoutException) else ServerAwayError(told)


def require_end(response: httpx.Response) -> None:
    """Return when the answer will say where it ends, so that one that was cut can be told from a whole one."""
    headers = response.headers
    if "content-length" not in headers and headers.get("transfer-encoding") != "chunked":
        raise BrokenAnswerError(
            "the server does not mark the end of its answer, so nobody can tell whether it is whole"
        )


class Lines:
    """Records out of pieces of a body, one JSON object a line."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> Iterator[Record]:
        """The records that are whole now. Raises BrokenAnswerError."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            if line:
                yield _record(line)

    def end(self) -> Iterator[Record]:
        """What stands behind the last line break."""
        if self._rest.strip():
            yield _record(self._rest)


class _Told(Struct):
    error: str | None = None
    field: str | None = None


class _RawPage(Struct):
    records: list[msgspec.Raw]
    next: str | None


def _told(body: bytes) -> tuple[str, str | None]:
    try:
        told = msgspec.json.decode(body, type=_Told)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        told = _Told()
    return told.error or body[:_REASON_MAX].decode("utf-8", "replace").strip() or "no details", told.field


def _nothing(_: bytes) -> None:
    return None


def _record(body: bytes) -> Record:
    try:
        return decode_record(body)
    except BadRecord as fault:
        raise BrokenAnswerError(f"the answer holds what is no record: {fault}") from None


def _page(body: bytes) -> Page:
    found = _decoded(body, _RawPage)
    return Page(tuple(_record(bytes(raw)) for raw in found.records), found.next)


def _decoded(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as fault:
        raise BrokenAnswerError(f"the answer is not understood: {fault}") from None


def with_outcomes(error: ClientError, outcomes: Sequence[RecordOutcome]) -> ClientError:
    """The error, which tells of the records that were answered for before it."""
    error.outcomes = tuple(outcomes)
    return error
