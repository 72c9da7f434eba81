"""Puts facility documents into Elasticsearch or OpenSearch by the bulk API (`_bulk`, version 7 and newer).

Each document is created under an id made of its content and time, so that a repeat changes nothing, with its time as
`@timestamp`. An answer tells of every document by itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from jobmeter.model.outcome import Accepted, Keep, Outcome, Rejected
from jobmeter.peer import TIMEOUT_MAX_SECONDS, Endpoint, Peer, PeerAway
from jobmeter.wire.document import decode_document

_encode = msgspec.json.Encoder().encode
_TELLS_LATER = frozenset({429, 500, 502, 503, 504})


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """Where Elasticsearch is, and the index."""

    address: Annotated[str, Meta(description="http:// or https://, host, port, and a path before it.")]
    index: Annotated[str, Meta(min_length=1, description="The index, data stream or alias to write to.")]
    api_key_file: Annotated[str | None, Meta(description="File with an API key, as the server gave it out.")] = None
    api_key: Annotated[str | None, Meta(description="The API key itself.", extra={"secret": True})] = None
    batch_limit: Annotated[int, Meta(ge=1, le=10_000, description="Documents of a request.")] = 500
    timeout_seconds: Annotated[
        float, Meta(gt=0, le=TIMEOUT_MAX_SECONDS, description="How long an answer may take.")
    ] = 30
    ca_file: Annotated[str | None, Meta(description="PEM file of an authority to trust.")] = None

    def __post_init__(self) -> None:
        # A placeholder of a sample is no address; whether one serves is asked when it is used.
        if self.address != "..." and (fault := self.endpoint.fault()) is not None:
            raise ValueError(fault)

    @property
    def endpoint(self) -> Endpoint:
        """Where to connect to."""
        return Endpoint(self.address.rstrip("/"), self.timeout_seconds, self.ca_file)


class _Error(Struct, frozen=True):
    type: str = ""
    reason: str | None = None


class _Item(Struct, frozen=True):
    status: int
    error: _Error | None = None


class _Answer(Struct, frozen=True):
    items: list[dict[str, _Item]]


_answer = msgspec.json.Decoder(_Answer).decode


class ElasticsearchDocuments:
    """A Sink; see `jobmeter.contract`. Items are encoded by `jobmeter.wire.document`."""

    def __init__(self, settings: Settings) -> None:
        self.batch_limit = settings.batch_limit
        self._settings = settings
        self._peer = Peer(settings.endpoint, headers=self._headers)

    def send(self, items: Sequence[bytes]) -> Sequence[Outcome]:
        """What became of each item."""
        if not items:
            return []
        try:
            body = b"".join(map(self._lines, items))
            answer = self._peer.exchange("POST", "/_bulk", body)
        except (PeerAway, OSError) as fault:
            return [Keep(reason=str(fault))] * len(items)
        if answer.status != 200:
            told = answer.body[:500].decode("utf-8", "replace")
            return [Keep(reason=f"status {answer.status}: {told}")] * len(items)
        try:
            found = [item for one in _answer(answer.body).items for item in one.values()]
        except (msgspec.MsgspecError, UnicodeDecodeError) as fault:
            return [Keep(reason=f"the answer is not understood: {fault}")] * len(items)
        if len(found) != len(items):
            return [Keep(reason=f"the answer tells of {len(found)} documents instead of {len(items)}")] * len(items)
        return [_outcome(item) for item in found]

    def close(self) -> None:
        """Close the connection."""
        self._peer.close()

    def _headers(self) -> Mapping[str, str]:
        settings = self._settings
        key = settings.api_key
        if settings.api_key_file is not None:
            key = Path(settings.api_key_file).read_text(encoding="utf-8").strip()
        given = {"Content-Type": "application/x-ndjson"}
        return given if key is None else {**given, "Authorization": f"ApiKey {key}"}

    def _lines(self, item: bytes) -> bytes:
        envelope = decode_document(item)
        fields = bytes(envelope.document)
        name = hashlib.blake2b(item, digest_size=16).hexdigest()
        action = _encode({"create": {"_index": self._settings.index, "_id": name}})
        moment = envelope.observed.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return action + b'\n{"@timestamp":' + _encode(moment) + b"," + fields[1:] + b"\n"


def open_sink(settings: Settings) -> ElasticsearchDocuments:
    """The sink for an index. Raises TlsFilesUnusable; whether it is there shows at the first `send`."""
    return ElasticsearchDocuments(settings)


def _outcome(item: _Item) -> Outcome:
    if 200 <= item.status < 300 or item.status == 409:  # 409: the id is there already, a repeat
        return Accepted()
    told = f"status {item.status}"
    if item.error is not None:
        told += f": {item.error.type}: {item.error.reason}"
    return Keep(reason=told) if item.status in _TELLS_LATER else Rejected(told)
