"""Facility documents as they are posted to a receiver: one JSON object, or an array of them.

The kinds that the AF metrics collector has are checked field by field, with what senders of other facilities leave out
or write otherwise (no `Id`, `users` as a list). Fields that are not known are kept, and so are whole documents of other
kinds; they need a kind and a cluster.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from jobmeter.model.facility import Received

NAME_MAX = 255
DOCUMENTS_MAX = 10_000

Name = Annotated[str, Meta(min_length=1, max_length=NAME_MAX)]
Text = Annotated[str, Meta(max_length=NAME_MAX)]
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Amount = Annotated[float, Meta(ge=0, le=1e18)]

_FUTURE = timedelta(minutes=10)
_OLDEST = timedelta(days=400)


class BadDocument(ValueError):  # noqa: N818 - the name says the fact
    """A body holds something that is no document; `place` counts from 0, None for the whole body."""

    def __init__(self, place: int | None, reason: str) -> None:
        super().__init__(reason if place is None else f"document {place}: {reason}")


class _Head(Struct):
    kind: Name
    cluster: Name
    token: str | None = None
    timestamp: datetime | int | None = None
    login_node: Text | None = None


class _Ssh(Struct):
    ssh_user_count: Count
    users: list[Name]


class _Jupyter(Struct):
    jupyter_user_count: Count
    users: list[Name]


class _Queue(Struct):
    queue: Name
    idle: Count
    running: Count
    held: Count
    allocated_cores: Count | None = None
    allocated_mem: Count | None = None


class _Job(Struct):
    users: Name | list[Name]
    state: Name
    Id: Text | None = None
    Runtime: Amount | None = None


class _Cpu(Struct):
    login_node: Text
    load: Amount


class _Memory(Struct):
    login_node: Text
    total: Count
    available: Count


class _Traffic(Struct):
    sent: Count
    received: Count
    interval: Amount


class _Network(Struct):
    login_node: Text
    network: _Traffic


class _Disk(Struct):
    login_node: Text
    mount: Name
    total: Count
    used: Count
    free: Count
    utilization: Amount | None = None
    device: Text | None = None


_KINDS: Mapping[str, msgspec.json.Decoder[Any]] = {
    "ssh": msgspec.json.Decoder(_Ssh),
    "jupyter-ml": msgspec.json.Decoder(_Jupyter),
    "jupyter-coffea": msgspec.json.Decoder(_Jupyter),
    "condorqueue": msgspec.json.Decoder(_Queue),
    "condorjob": msgspec.json.Decoder(_Job),
    "CPU": msgspec.json.Decoder(_Cpu),
    "MEM": msgspec.json.Decoder(_Memory),
    "NETWORK": msgspec.json.Decoder(_Network),
    "DISK": msgspec.json.Decoder(_Disk),
}
_SUBJECTS = {"condorqueue": "queue", "condorjob": "Id", "DISK": "mount"}

_head = msgspec.json.Decoder(_Head).decode
_many = msgspec.json.Decoder(list[msgspec.Raw]).decode
_fields = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode


class Posted(Struct, frozen=True):
    """A document with the token that it came with."""

    token: str | None
    document: Received


def decode_posted(body: bytes, now: datetime, key: bytes | None) -> list[Posted]:
    """The documents of a body, received `now`; `key` is the sender's name for this very request, if it gave one.

    Raises BadDocument when one of them is none: then none counts.
    """
    if body.lstrip()[:1] != b"[":
        return [_posted(body, None, now, key)]
    try:
        raws = _many(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as fault:
        raise BadDocument(None, f"the body is no JSON array of documents: {fault}") from None
    if not raws or len(raws) > DOCUMENTS_MAX:
        raise BadDocument(None, f"an array holds 1 to {DOCUMENTS_MAX} documents, this one {len(raws)}")
    return [
        _posted(bytes(raw), place, now, None if key is None else b"%d %b" % (place, key))
        for place, raw in enumerate(raws)
    ]


def _posted(raw: bytes, place: int | None, now: datetime, key: bytes | None) -> Posted:
    try:
        head = _head(raw)
        decoder = _KINDS.get(head.kind)
        known = None if decoder is None else decoder.decode(raw)
        fields = _fields(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as fault:
        raise BadDocument(place, str(fault)) from None
    fields.pop("token", None)
    fields.pop("timestamp", None)
    body = _encode(fields)
    observed = _observed(head.timestamp, now, place)
    if observed is not None:
        key = b"%d %b" % (int(observed.timestamp() * 1000), body)
    subject = getattr(known, _SUBJECTS.get(head.kind, ""), None)
    users = getattr(known, "users", ())
    names = (users,) if isinstance(users, str) else tuple(users)
    if any("\0" in text for text in (head.kind, head.cluster, head.login_node or "", subject or "", *names)):
        raise BadDocument(place, "a name holds a NUL")
    document = Received(
        kind=head.kind,
        cluster=head.cluster,
        received=now,
        observed=now if observed is None else observed,
        body=body,
        node=head.login_node,
        subject=subject,
        state=getattr(known, "state", None),
        users=names,
        identity=None if key is None else _digest(head.cluster, head.kind, key),
    )
    return Posted(head.token, document)


def _observed(stamp: datetime | int | None, now: datetime, place: int | None) -> datetime | None:
    """When the document was true by its sender: ISO 8601 with a zone, or milliseconds since 1970."""
    if stamp is None:
        return None
    try:
        moment = datetime.fromtimestamp(stamp / 1000, UTC) if isinstance(stamp, int) else stamp
    except (ValueError, OverflowError, OSError):
        raise BadDocument(place, f"timestamp {stamp} is no moment") from None
    if moment.tzinfo is None:
        raise BadDocument(place, "timestamp has no zone")
    if not now - _OLDEST <= moment <= now + _FUTURE:
        raise BadDocument(place, f"timestamp {moment.isoformat()} is too far from now")
    return moment.astimezone(UTC)


def _digest(cluster: str, kind: str, key: bytes) -> bytes:
    named = _encode((cluster, kind))
    return hashlib.blake2b(named + key, digest_size=16).digest()
