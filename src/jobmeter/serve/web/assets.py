"""Style, scripts and pictures of the pages. Their addresses hold their digest, so browsers keep them for ever."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable

from msgspec import Struct

from jobmeter.serve.answer import Header, Receive, Scope, Send, send_bytes

FOLDER = "/assets/"
_PLACES = ("assets", "assets/vendored")
_TYPES = {
    "css": b"text/css; charset=utf-8",
    "js": b"text/javascript; charset=utf-8",
    "svg": b"image/svg+xml",
}
_FOR_EVER = b"public, max-age=31536000, immutable"


class Asset(Struct, frozen=True):
    """One file: its path in the server, and what is answered."""

    path: str
    content_type: bytes
    body: bytes
    packed: bytes
    tag: bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> int:
        """The file, or 304 to who has it."""
        del receive
        headers: list[Header] = [
            (b"cache-control", _FOR_EVER),
            (b"cross-origin-resource-policy", b"same-origin"),
            (b"etag", self.tag),
            (b"vary", b"accept-encoding"),
        ]
        sent = {name: value for name, value in scope["headers"] if name in (b"if-none-match", b"accept-encoding")}
        if self.tag in sent.get(b"if-none-match", b""):
            return await send_bytes(send, 304, b"", headers=headers)
        body = self.body
        if b"gzip" in sent.get(b"accept-encoding", b""):
            headers.append((b"content-encoding", b"gzip"))
            body = self.packed
        return await send_bytes(send, 200, body, self.content_type, headers)


class Assets:
    """All of them, read once."""

    def __init__(self) -> None:
        self._by_name = dict(_found())

    def path(self, name: str) -> str:
        """Where the file of this name is served, without the slash at the beginning. Raises KeyError."""
        return self._by_name[name].path[1:]

    def all(self) -> list[Asset]:
        """Every file."""
        return list(self._by_name.values())


def _found() -> Iterator[tuple[str, Asset]]:
    for place in _PLACES:
        for item in files("jobmeter.serve.web").joinpath(place).iterdir():
            stem, _, kind = item.name.rpartition(".")
            if kind in _TYPES:
                yield item.name, _asset(item, stem, kind)


def _asset(item: Traversable, stem: str, kind: str) -> Asset:
    body = item.read_bytes()
    digest = hashlib.sha256(body).hexdigest()[:16]
    packed = gzip.compress(body, 9, mtime=0)
    return Asset(f"{FOLDER}{stem}-{digest}.{kind}", _TYPES[kind], body, packed, f'"{digest}"'.encode())
