"""Sends records to a jobmeter server, or to a server of the superseded AUDITOR, over HTTP.

`POST /v2/records` answers for every record of a group. A peer that has no such path is taken for an AUDITOR server and
gets one `POST /record` a time, judged by status and body. Nothing but a definite answer about a record is Accepted or
Rejected; whatever else happens, the record is kept.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from jobmeter.model.outcome import Accepted, Keep, Outcome, Rejected
from jobmeter.peer import TIMEOUT_MAX_SECONDS, Answer, Endpoint, Peer, PeerAway, bearer
from jobmeter.wire.verdict import BadVerdicts, Verdict, decode_verdicts

BODY_MAX_BYTES = 3 * 2**19
"""Groups are cut so that a body stays below this; AUDITOR and jobmeter servers take 2 MiB unless told otherwise."""

_REASON_MAX_CHARACTERS = 1000
_KEEPS_IN_A_ROW_MAX = 3
_SUPERSEDED_SECONDS = 900.0

log = logging.getLogger("jobmeter.sinks")


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the server is, how to talk to it, and how much to send at once."""

    address: Annotated[
        str, Meta(description="http:// or https://, host, port, and the path before /record when there is one.")
    ] = "http://127.0.0.1:8000"
    timeout_seconds: Annotated[
        float,
        Meta(gt=0, le=TIMEOUT_MAX_SECONDS, description="How long an answer may take, from request to last byte."),
    ] = 30
    batch_limit: Annotated[int, Meta(ge=1, le=10_000, description="How many records go in one request.")] = 1000
    ca_file: Annotated[
        str | None, Meta(description="PEM file of an authority to trust besides those of the system.")
    ] = None
    certificate_file: Annotated[str | None, Meta(description="PEM file of the client certificate to show.")] = None
    key_file: Annotated[str | None, Meta(description="PEM file of its private key.")] = None
    token: Annotated[
        str | None,
        Meta(description="Bearer token that the server asks for; better in a file.", extra={"secret": True}),
    ] = None
    token_file: Annotated[
        str | None,
        Meta(description="File with the bearer token that the server asks for, read again for every request."),
    ] = None

    def __post_init__(self) -> None:
        if (fault := self.endpoint.fault()) is not None:
            raise ValueError(fault)
        if self.token is not None and self.token_file is not None:
            raise ValueError("token and token_file exclude each other")

    @property
    def endpoint(self) -> Endpoint:
        """Where to connect to."""
        return Endpoint(self.address, self.timeout_seconds, self.ca_file, self.certificate_file, self.key_file)


class _KeepAll(Exception):  # noqa: N818 - a decision, carried to where the rest of the items are
    """Nothing more can be sent now."""

    def __init__(self, reason: str, delay_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.keep = Keep(delay_seconds, reason)


class _Halve(Exception):  # noqa: N818
    """The group is too much for the peer at once."""


class ServerCounts(Struct, frozen=True):
    """Records that the peer took: as new, as repeats with equal content, and (AUDITOR) as ids that it had already."""

    new: int = 0
    same: int = 0
    existed: int = 0


class ServerSink:
    """A sink (see `jobmeter.contract.Sink`) whose items are records encoded by `jobmeter.wire.auditor`."""

    def __init__(self, settings: Settings) -> None:
        self.batch_limit = settings.batch_limit
        self.counts = ServerCounts()
        self._peer = Peer(settings.endpoint, headers=bearer(settings.token, settings.token_file))
        self._body_max_bytes = BODY_MAX_BYTES
        self._superseded_until: float | None = None

    def send(self, items: Sequence[bytes]) -> Sequence[Outcome]:
        """What became of each item. One that cannot be sent now keeps those after it, too."""
        outcomes: list[Outcome] = []
        groups = deque(_groups(items, self._body_max_bytes))
        try:
            while groups:
                group = groups.popleft()
                try:
                    for outcome in self._offer(group):
                        outcomes.append(outcome)
                except _Halve:
                    middle = len(group) // 2
                    groups.extendleft((group[middle:], group[:middle]))
        except _KeepAll as decision:
            outcomes.extend([decision.keep] * (len(items) - len(outcomes)))
        except PeerAway as fault:
            outcomes.extend([Keep(reason=str(fault))] * (len(items) - len(outcomes)))
        return outcomes

    def close(self) -> None:
        """Close the connection."""
        self._peer.close()

    def _offer(self, group: Sequence[bytes]) -> Iterator[Outcome]:
        if self._superseded_until is not None and time.monotonic() < self._superseded_until:
            return self._one_by_one(group)
        answer = self._peer.exchange("POST", "/v2/records", b"[" + b",".join(group) + b"]")
        if answer.status == 200:
            return iter(self._judged(answer, len(group)))
        if answer.status in (404, 405):
            if self._superseded_until is None:
                log.info("server.superseded address=%s status=%d", self._peer.address, answer.status)
            # Looked at again from time to time: the server may be replaced by a new one meanwhile.
            self._superseded_until = time.monotonic() + _SUPERSEDED_SECONDS
            return self._one_by_one(group)
        if answer.status == 413 or (answer.status == 400 and _is_object(answer)):
            if len(group) > 1:
                if answer.status == 413:
                    self._body_max_bytes = min(self._body_max_bytes, sum(map(len, group)) // 2)
                raise _Halve
            return iter([Rejected(f"status {answer.status}: {_text(answer)}")])
        raise _refusal(answer)

    def _judged(self, answer: Answer, number: int) -> list[Outcome]:
        try:
            verdicts = decode_verdicts(answer.body)
        except BadVerdicts as error:
            raise _KeepAll(f"the answer is not understood: {error}") from None
        if len(verdicts) != number:
            raise _KeepAll(f"the answer tells of {len(verdicts)} records instead of {number}")
        self._superseded_until = None
        new = sum(verdict.outcome == "new" for verdict in verdicts)
        same = sum(verdict.outcome == "same" for verdict in verdicts)
        self.counts = ServerCounts(self.counts.new + new, self.counts.same + same, self.counts.existed)
        return [_outcome(verdict) for verdict in verdicts]

    def _one_by_one(self, group: Sequence[bytes]) -> Iterator[Outcome]:
        """The way of AUDITOR, where a fault of the server may be due to one record only: some in a row mean all."""
        keeps = 0
        for item in group:
            answer = self._peer.exchange("POST", "/record", item)
            outcome = self._judged_alone(answer)
            yield outcome
            keeps = keeps + 1 if isinstance(outcome, Keep) else 0
            if keeps == _KEEPS_IN_A_ROW_MAX:
                raise _refusal(answer)

    def _judged_alone(self, answer: Answer) -> Outcome:
        if answer.body == b"RECORD_EXISTS":
            self.counts = ServerCounts(self.counts.new, self.counts.same, self.counts.existed + 1)
            return Accepted()
        if answer.status == 200 and (not answer.body or _is_object(answer)):
            self.counts = ServerCounts(self.counts.new + 1, self.counts.same, self.counts.existed)
            return Accepted()
        if answer.status in (400, 413):
            return Rejected(f"status {answer.status}: {_text(answer)}")
        if answer.status in (404, 405):
            self._superseded_until = None
            raise _KeepAll(f"no records are taken at this address (status {answer.status})")
        refusal = _refusal(answer)
        if answer.status in (401, 403):
            raise refusal
        return refusal.keep


def open_sink(settings: Settings) -> ServerSink:
    """The sink for a server. Raises TlsFilesUnusable; whether the server is there shows at the first `send`."""
    return ServerSink(settings)


def _groups(items: Sequence[bytes], most_bytes: int) -> Iterator[Sequence[bytes]]:
    """The items in runs whose bodies stay below `most_bytes`; an item that is larger stands alone."""
    start, size = 0, 2
    for place, item in enumerate(items):
        if place > start and size + len(item) + 1 > most_bytes:
            yield items[start:place]
            start, size = place, 2
        size += len(item) + 1
    if start < len(items):
        yield items[start:]


def _outcome(verdict: Verdict) -> Outcome:
    told = ": ".join(part for part in (verdict.field, verdict.reason) if part)
    match verdict.outcome:
        case "conflict":
            return Rejected(f"conflict: {told or 'another record with this id is stored already'}")
        case "forbidden":
            return Keep(reason=f"this client may not write it; mend its access ({told})")
        case "invalid":
            return Rejected(told or "the record is invalid")
        case _:
            return Accepted()


def _refusal(answer: Answer) -> _KeepAll:
    """Why nothing can be sent now, by an answer that says nothing about the records."""
    delay_seconds = retry_after_seconds(answer.headers)
    status = answer.status
    if status in (401, 403):
        return _KeepAll(f"status {status}: this client may not write; mend its access ({_text(answer)})", delay_seconds)
    if 300 <= status < 400:
        return _KeepAll(
            f"status {status}: sends elsewhere ({answer.headers.get('location')}), not followed; mend address"
        )
    return _KeepAll(f"status {status}: {_text(answer)}", delay_seconds)


def retry_after_seconds(headers: Mapping[str, str]) -> float:
    """The delay that a `Retry-After` asks for, in seconds or as a date by the peer's own clock; 0 without one."""
    asked = headers.get("retry-after", "").strip()
    if asked.isascii() and asked.isdigit():
        return float(asked[:9])
    try:
        span = parsedate_to_datetime(asked) - parsedate_to_datetime(headers.get("date", ""))
    except (TypeError, ValueError):  # not both are dates, or only one has a zone
        return 0.0
    return max(0.0, span.total_seconds())


def _is_object(answer: Answer) -> bool:
    """Whether the body is a JSON object: a page of some proxy is not."""
    try:
        return isinstance(msgspec.json.decode(answer.body), dict)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False


def _text(answer: Answer) -> str:
    return answer.body[:_REASON_MAX_CHARACTERS].decode("utf-8", "replace").strip() or "no details"
