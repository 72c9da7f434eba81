"""Posts facility documents to an HTTP endpoint: one document per request, or several as a JSON array.

The way of the AF metrics collector: the token is a field of the document, the receiver puts the time on it. What it
does not do: it never takes a redirect, an error or silence for success. A document that comes late, because the
endpoint was away, carries a `timestamp` of when it was true.

Each request has an `Idempotency-Key` (draft of the HTTPAPI working group), so that a receiver that knows it stores a
repeat once.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Annotated, Literal, NamedTuple
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from jobmeter.model.outcome import Accepted, Keep, Outcome, Rejected
from jobmeter.peer import TIMEOUT_MAX_SECONDS, Answer, Endpoint, Peer, PeerAway
from jobmeter.wire.document import decode_document, kind_of

_LATE_SECONDS = 60
_BATCH_DOCUMENTS = 1000
_MANY = 64
"""So many requests with documents of one kind go over several connections."""
_REASON_MAX_CHARACTERS = 500
_DELAY_DIGITS_MAX = 6

_encode = msgspec.json.Encoder().encode


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """Where documents go, and in which form."""

    url: Annotated[str, Meta(description="The endpoint (-u): http:// or https://, host, port and path.")] = (
        "https://af.atlas-ml.org/"
    )
    token: Annotated[
        str | None, Meta(description="The token of every document (-t); better is a file.", extra={"secret": True})
    ] = None
    token_file: Annotated[
        str | None, Meta(description="File with the token; read anew whenever something is sent.")
    ] = None
    array: Annotated[
        int, Meta(ge=1, le=10_000, description="Documents of a request; with more than 1 the body is a JSON array.")
    ] = 1
    timestamps: Annotated[
        Literal["late", "always", "never"],
        Meta(
            description="When a document carries its time: when it is a minute late, always (as in arrays), or never."
        ),
    ] = "late"
    connections: Annotated[
        int, Meta(ge=1, le=64, description="Connections side by side when there are many documents of one kind.")
    ] = 8
    timeout_seconds: Annotated[
        float, Meta(gt=0, le=TIMEOUT_MAX_SECONDS, description="How long an answer may take, to its last byte.")
    ] = 30
    ca_file: Annotated[
        str | None, Meta(description="PEM file of an authority to trust besides those of the system.")
    ] = None
    certificate_file: Annotated[str | None, Meta(description="PEM file of the client certificate to show.")] = None
    key_file: Annotated[str | None, Meta(description="PEM file of its private key.")] = None

    def __post_init__(self) -> None:
        if self.token is not None and self.token_file is not None:
            raise ValueError("token and token_file exclude each other")
        if (fault := self.endpoint.fault()) is not None:
            raise ValueError(fault)

    @property
    def endpoint(self) -> Endpoint:
        """Where to connect to: the URL without its path."""
        parts = urlsplit(self.url)
        address = f"{parts.scheme}://{parts.netloc}" if parts.netloc else self.url
        return Endpoint(address, self.timeout_seconds, self.ca_file, self.certificate_file, self.key_file)

    @property
    def path(self) -> str:
        """What follows the address, the query included."""
        parts = urlsplit(self.url)
        return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


class _Work:
    """Documents of one stretch, handed out in their order to the connections, and what became of each.

    `head` stands at the beginning of each: the token.
    """

    def __init__(self, items: Sequence[bytes], size: int, head: bytes, until: float | None) -> None:
        self.head = head
        self.until = until
        self.outcomes: list[Outcome] = [Keep(reason="a connection failed")] * len(items)
        self._items = items
        self._size = size
        self._next = 0
        self._lock = threading.Lock()

    def take(self) -> tuple[int, Sequence[bytes]] | None:
        """The next documents for one request, and the place of the first; None at the end."""
        with self._lock:
            place = self._next
            self._next = min(place + self._size, len(self._items))
        return (place, self._items[place : place + self._size]) if place < len(self._items) else None

    def tell(self, place: int, outcome: Outcome, number: int) -> None:
        """What became of some documents."""
        self.outcomes[place : place + number] = [outcome] * number

    def give_up(self, kept: Keep) -> bool:
        """Keep what no connection has taken. Whether there was some."""
        with self._lock:
            place, self._next = self._next, len(self._items)
        self.tell(place, kept, len(self._items) - place)
        return place < len(self._items)


class _Lane:
    """One connection, for one thread at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._key = ""
        self._peer = Peer(settings.endpoint, headers=lambda: {"Idempotency-Key": self._key})
        self.stopped: Keep | None = None
        """Why it stopped before the end of the last work."""

    def send(self, work: _Work) -> None:
        """Send until nothing is left, or something cannot be sent now."""
        self.stopped = None
        while self.stopped is None and (taken := work.take()) is not None:
            groups = [taken]
            while groups:
                place, group = groups.pop()
                told = self.stopped or self._post(group, work)
                if isinstance(told, Rejected) and len(group) > 1:
                    middle = len(group) // 2
                    groups += [(place + middle, group[middle:]), (place, group[:middle])]
                    continue
                if isinstance(told, Keep):
                    self.stopped = told
                work.tell(place, told, len(group))

    def close(self) -> None:
        """Close the connection."""
        self._peer.close()

    def _post(self, group: Sequence[bytes], work: _Work) -> Outcome:
        seconds = None
        if work.until is not None and (seconds := work.until - time.monotonic()) <= 0:
            return Keep(reason="the time for sending was over")
        self._key = hashlib.blake2b(b"".join(group), digest_size=16).hexdigest()
        documents = [self._document(item, work.head) for item in group]
        body = b"[" + b",".join(documents) + b"]" if self._settings.array > 1 else documents[0]
        try:
            return judged(self._peer.exchange("POST", self._settings.path, body, seconds=seconds))
        except PeerAway as fault:
            return Keep(reason=str(fault))

    def _document(self, item: bytes, head: bytes) -> bytes:
        """The document with the token before its fields, and its time behind them where it needs one."""
        envelope = decode_document(item)
        fields = bytes(envelope.document)[1:-1]
        wanted = self._settings.timestamps
        if wanted == "never" or (wanted == "late" and not self._is_late(envelope.observed)):
            return head + fields + b"}"
        moment = envelope.observed.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return head + fields + b',"timestamp":' + _encode(moment) + b"}"

    def _is_late(self, observed: datetime) -> bool:
        return self._settings.array > 1 or (datetime.now(UTC) - observed).total_seconds() > _LATE_SECONDS


class DocumentSink:
    """A Sink; see `jobmeter.contract`. Items are encoded by `jobmeter.wire.document`.

    Documents go over one connection in their order, but many of one kind that follow one another, such as jobs, over
    several: these are begun in their order. After `until` (of the monotonic clock) nothing more is begun, and what is
    under way is given up.
    """

    def __init__(self, settings: Settings) -> None:
        self.batch_limit = max(_BATCH_DOCUMENTS, settings.array)
        self.until: float | None = None
        self._settings = settings
        self._lanes = [_Lane(settings)]

    def send(self, items: Sequence[bytes]) -> Sequence[Outcome]:
        """What became of each item."""
        try:
            head = b'{"token":' + _encode(self._token()) + b","
        except (OSError, UnicodeDecodeError) as fault:
            return [Keep(reason=f"token_file: {fault}")] * len(items)
        outcomes: list[Outcome] = []
        for stretch in stretches([kind_of(item) for item in items], _MANY * self._settings.array):
            work = _Work(items[stretch.start : stretch.stop], self._settings.array, head, self.until)
            stopped = self._send(work, self._settings.connections if stretch.is_uniform else 1)
            outcomes += work.outcomes
            if stopped is not None:
                return [*outcomes, *([stopped] * (len(items) - len(outcomes)))]
        return outcomes

    def close(self) -> None:
        """Close the connections."""
        for lane in self._lanes:
            lane.close()

    def _send(self, work: _Work, connections: int) -> Keep | None:
        """Send over so many connections. Why something was left when all of them had stopped, or None."""
        self._lanes += [_Lane(self._settings) for _ in range(connections - len(self._lanes))]
        lanes = self._lanes[:connections]
        threads = [threading.Thread(target=lane.send, args=[work], daemon=True) for lane in lanes[1:]]
        for thread in threads:
            thread.start()
        try:
            lanes[0].send(work)
        finally:
            for thread in threads:
                thread.join()
        stopped = next((lane.stopped for lane in lanes if lane.stopped is not None), None)
        if stopped is None or not (work.give_up(stopped) or connections == 1):
            return None
        return stopped

    def _token(self) -> str | None:
        if self._settings.token_file is None:
            return self._settings.token
        return Path(self._settings.token_file).read_text(encoding="utf-8").strip()


class Stretch(NamedTuple):
    """Some documents that follow one another, from `start` on, before `stop`; whether they are of one kind."""

    start: int
    stop: int
    is_uniform: bool


def stretches(kinds: Sequence[str], many: int) -> Iterator[Stretch]:
    """The stretches where `many` or more documents of one kind follow one another, and those between them."""
    begin = at = 0
    for _, same in groupby(kinds):
        size = len(list(same))
        if size >= many:
            if begin < at:
                yield Stretch(begin, at, is_uniform=False)
            yield Stretch(at, at + size, is_uniform=True)
            begin = at + size
        at += size
    if begin < at:
        yield Stretch(begin, at, is_uniform=False)


def open_sink(settings: Settings) -> DocumentSink:
    """The sink for an endpoint. Raises TlsFilesUnusable; whether it is there shows at the first `send`."""
    return DocumentSink(settings)


def judged(answer: Answer) -> Outcome:
    """What an answer means: 2xx is accepted, a refusal in JSON that blames the document is final, the rest is not."""
    status = answer.status
    if 200 <= status < 300:
        return Accepted()
    told = answer.body[:_REASON_MAX_CHARACTERS].decode("utf-8", "replace").strip() or "no details"
    if status in (400, 413, 422) and answer.body.lstrip().startswith(b"{"):
        return Rejected(f"status {status}: {told}")
    if 300 <= status < 400:
        return Keep(
            reason=f"status {status}: sends elsewhere ({answer.headers.get('location')}), not followed; mend url"
        )
    if status in (401, 403):
        return Keep(reason=f"status {status}: the token may not write for this cluster ({told})")
    return Keep(_asked_seconds(answer), f"status {status}: {told}")


def _asked_seconds(answer: Answer) -> float:
    asked = answer.headers.get("retry-after", "").strip()
    return float(asked) if asked.isascii() and asked.isdigit() and len(asked) <= _DELAY_DIGITS_MAX else 0.0
