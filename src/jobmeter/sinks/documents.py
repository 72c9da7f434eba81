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
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from jobmeter.model.outcome import Accepted, Keep, Outcome, Rejected
from jobmeter.peer import TIMEOUT_MAX_SECONDS, Answer, Endpoint, Peer, PeerAway
from jobmeter.wire.document import decode_document

_LATE_SECONDS = 60
_BATCH_DOCUMENTS = 1000
_MANY = 64
"""From so many requests on they go over several connections."""
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
        int, Meta(ge=1, le=64, description="Connections side by side when there is much to send.")
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


class _Lane:
    """One connection, for one thread at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._key = ""
        self._peer = Peer(settings.endpoint, headers=lambda: {"Idempotency-Key": self._key})

    def send(self, items: Sequence[bytes], token: str | None, until: float | None) -> list[Outcome]:
        """What became of each item. One that cannot be sent now keeps those after it, too."""
        outcomes: list[Outcome] = []
        groups = [items[at : at + self._settings.array] for at in range(0, len(items), self._settings.array)]
        groups.reverse()
        while groups:
            group = groups.pop()
            told = self._post(group, token, until)
            if isinstance(told, Keep):
                return [*outcomes, *([told] * (len(items) - len(outcomes)))]
            if isinstance(told, Rejected) and len(group) > 1:
                middle = len(group) // 2
                groups += [group[middle:], group[:middle]]
                continue
            outcomes += [told] * len(group)
        return outcomes

    def close(self) -> None:
        """Close the connection."""
        self._peer.close()

    def _post(self, group: Sequence[bytes], token: str | None, until: float | None) -> Outcome:
        seconds = None
        if until is not None and (seconds := until - time.monotonic()) <= 0:
            return Keep(reason="the time for sending was over")
        self._key = hashlib.blake2b(b"".join(group), digest_size=16).hexdigest()
        documents = [self._document(item, token, in_array=self._settings.array > 1) for item in group]
        body = b"[" + b",".join(documents) + b"]" if self._settings.array > 1 else documents[0]
        try:
            return judged(self._peer.exchange("POST", self._settings.path, body, seconds=seconds))
        except PeerAway as fault:
            return Keep(reason=str(fault))

    def _document(self, item: bytes, token: str | None, *, in_array: bool) -> bytes:
        """The document with the token before its fields, and its time behind them where it needs one."""
        envelope = decode_document(item)
        fields = bytes(envelope.document)[1:-1]
        wanted = self._settings.timestamps
        late = (datetime.now(UTC) - envelope.observed).total_seconds() > _LATE_SECONDS
        stamp = b""
        if wanted == "always" or (wanted == "late" and (late or in_array)):
            moment = envelope.observed.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            stamp = b',"timestamp":' + _encode(moment)
        return b'{"token":' + _encode(token) + b"," + fields + stamp + b"}"


class DocumentSink:
    """A Sink; see `jobmeter.contract`. Items are encoded by `jobmeter.wire.document`.

    Few documents go over one connection in their order, many over several. After `until` (of the monotonic clock)
    nothing more is begun, and what is under way is given up.
    """

    def __init__(self, settings: Settings) -> None:
        self.batch_limit = max(_BATCH_DOCUMENTS, settings.array)
        self.until: float | None = None
        self._settings = settings
        self._lanes = [_Lane(settings)]

    def send(self, items: Sequence[bytes]) -> Sequence[Outcome]:
        """What became of each item."""
        try:
            token = self._token()
        except OSError as fault:
            return [Keep(reason=f"token_file: {fault}")] * len(items)
        if len(items) < _MANY * self._settings.array or self._settings.connections == 1:
            return self._lanes[0].send(items, token, self.until)
        return self._side_by_side(items, token)

    def close(self) -> None:
        """Close the connections."""
        for lane in self._lanes:
            lane.close()

    def _side_by_side(self, items: Sequence[bytes], token: str | None) -> list[Outcome]:
        number = self._settings.connections
        self._lanes += [_Lane(self._settings) for _ in range(number - len(self._lanes))]
        told: list[list[Outcome]] = [[] for _ in range(number)]

        def send(place: int) -> None:
            told[place] = self._lanes[place].send(items[place::number], token, self.until)

        threads = [threading.Thread(target=send, args=[place], daemon=True) for place in range(number)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # A lane whose thread failed told nothing; what it was to send is kept.
        missing = Keep(reason="a connection failed")
        outcomes: list[Outcome] = [missing] * len(items)
        for place, part in enumerate(told):
            for at, outcome in enumerate(part):
                outcomes[place + at * number] = outcome
        return outcomes

    def _token(self) -> str | None:
        if self._settings.token_file is None:
            return self._settings.token
        return Path(self._settings.token_file).read_text(encoding="utf-8").strip()


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
