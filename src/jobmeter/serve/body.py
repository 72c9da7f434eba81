"""Bodies of requests: read whole, within a bound that also holds after decompression."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from msgspec import Struct

from jobmeter.serve.answer import Header, Receive, Scope

MEMBERS_MAX = 1000
"""A gzip body may consist of several members; this many cost their set-up and nothing else."""

_JSON_LINES = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"})


class BodyRefused(Exception):  # noqa: N818 - the name says the fact
    """The body as a whole can never be used: `status` to answer, what there was of it, and its declared size."""

    def __init__(self, status: int, reason: str, body: bytes, size_bytes: int) -> None:
        super().__init__(reason)
        self.status = status
        self.body = body
        self.size_bytes = size_bytes


class Disconnected(Exception):  # noqa: N818
    """The client went away before the whole body had arrived."""


class _Head(Struct):
    content_type: bytes = b""
    encoding: bytes = b""
    length: int | None = None


async def read_body(
    scope: Scope, receive: Receive, limit_bytes: int, *, lines: bool = False, also: bytes = b"application/json"
) -> bytes:
    """The body of a request that must be JSON (or JSON lines, with `lines`; or of the type `also`), decompressed.

    Raises BodyRefused with 400, 413 or 415, and Disconnected.
    """
    head = _head(scope["headers"])
    body, size_bytes = await _received(receive, limit_bytes, head.length)
    if size_bytes > limit_bytes:
        raise BodyRefused(413, f"the body is larger than {limit_bytes} bytes", body, size_bytes)
    if head.content_type not in (b"application/json", also) and not _is_json(head.content_type, lines):
        raise BodyRefused(400, "Content type error: the body must be declared as JSON", body, size_bytes)
    if head.encoding and head.encoding != b"identity":
        return _decompressed(body, head.encoding, limit_bytes)
    return body


def _head(headers: Sequence[Header]) -> _Head:
    head = _Head()
    for name, value in headers:
        if name == b"content-type":
            head.content_type = value
        elif name == b"content-length":
            head.length = int(value)
        elif name == b"content-encoding":
            head.encoding = value.strip().lower()
    return head


async def _received(receive: Receive, limit_bytes: int, length: int | None) -> tuple[bytes, int]:
    """The body, or its beginning when it is larger than the limit; with its size as far as that is known."""
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        whole: bytes = message.get("body", b"")
        return whole[:limit_bytes], len(whole)
    pieces = []
    size = 0
    while message["type"] == "http.request":
        piece: bytes = message.get("body", b"")
        pieces.append(piece)
        size += len(piece)
        if size > limit_bytes:
            return b"".join(pieces)[:limit_bytes], max(size, length or 0)
        if not message.get("more_body", False):
            return b"".join(pieces), size
        message = await receive()
    raise Disconnected


def _is_json(content_type: bytes, lines: bool) -> bool:
    essence = content_type.decode("latin-1").partition(";")[0].strip().lower()
    if lines and essence in _JSON_LINES:
        return True
    kind, _, subtype = essence.partition("/")
    return bool(kind) and (subtype == "json" or subtype.endswith("+json"))


def _decompressed(body: bytes, encoding: bytes, limit_bytes: int) -> bytes:
    if encoding not in (b"gzip", b"x-gzip", b"deflate"):
        raise BodyRefused(415, "the content encoding is neither gzip nor deflate", body, len(body))
    window = 47
    if encoding == b"deflate" and not _has_zlib_head(body):
        window = -15
    pieces: list[bytes] = []
    room = limit_bytes + 1
    rest = body
    try:
        while rest and room > 0:
            if len(pieces) == MEMBERS_MAX:
                raise BodyRefused(400, f"the compressed body has more than {MEMBERS_MAX} members", body, len(body))
            stream = zlib.decompressobj(window)
            pieces.append(stream.decompress(rest, room))
            room -= len(pieces[-1])
            if room > 0 and not stream.eof:
                raise BodyRefused(400, "the compressed body ends too early", body, len(body))
            rest = stream.unused_data
    except zlib.error as fault:
        raise BodyRefused(400, f"the body cannot be decompressed: {fault}", body, len(body)) from None
    if room <= 0:
        raise BodyRefused(413, f"the body is larger than {limit_bytes} bytes when decompressed", body, len(body))
    return b"".join(pieces)


def _has_zlib_head(body: bytes) -> bool:
    """Whether RFC 1950's two bytes come first; some clients send bare RFC 1951 data as "deflate"."""
    return len(body) >= 2 and body[0] & 0x0F == 8 and (body[0] << 8 | body[1]) % 31 == 0
