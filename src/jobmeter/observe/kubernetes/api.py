"""The API server's pods and events: lists in pages and watches as lines. Verified with Kubernetes 1.20."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote, urlencode

import msgspec

from jobmeter.observe.kubernetes import wire
from jobmeter.observe.kubernetes.access import Access
from jobmeter.observe.kubernetes.settings import EVERYWHERE
from jobmeter.peer import Endpoint, Peer, PeerAway, Reply

_BODY_MAX_BYTES = 2**28
_LINE_MAX_BYTES = 2**25

_list = msgspec.json.Decoder(wire.PodList).decode
_refusal = msgspec.json.Decoder(wire.Refusal).decode
_bookmark = msgspec.json.Decoder(wire.Bookmark).decode
_named = msgspec.json.Decoder(wire.Named).decode
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class ApiAway(Exception):  # noqa: N818 - the names say the facts
    """The API server gave no usable answer: away, overloaded, cut off, garbage, or it does not know us (any more)."""


class ApiDenied(Exception):  # noqa: N818
    """The API server knows us and does not let us (403); the message is its own."""


class VersionGone(Exception):  # noqa: N818
    """The version from which to go on is too old (410): all has to be listed again."""


class Api:
    """Pods by one access and one connection. Not for several threads at once, but for `wake`."""

    def __init__(self, access: Access, timeout_seconds: float) -> None:
        self._peer = Peer(Endpoint(access.address, timeout_seconds), tls=access.tls, headers=access.headers)

    def pages(self, namespace: str, selector: str, limit: int, fields: str = "") -> Iterator[wire.PodList]:
        """All pods of a namespace in pages, each of the same version. Raises ApiAway, ApiDenied, VersionGone."""
        return self._pages(_path(namespace), {"limit": str(limit), "labelSelector": selector, "fieldSelector": fields})

    def events(self, namespace: str, fields: str, limit: int) -> Iterator[bytes]:
        """The events of a namespace that are kept. Raises ApiAway, ApiDenied, VersionGone."""
        for page in self._pages(_path(namespace, "events"), {"limit": str(limit), "fieldSelector": fields}):
            yield from map(bytes, page.items or ())

    def _pages(self, path: str, query: dict[str, str]) -> Iterator[wire.PodList]:
        going_on: str | None = ""
        while going_on is not None:
            with self._answer(path, {**query, "continue": going_on}) as reply:
                page = _page(_whole(reply))
            yield page
            going_on = page.metadata.continue_ or None

    @contextmanager
    def watch(self, namespace: str, selector: str, version: str, seconds: int) -> Iterator[Iterator[bytes]]:
        """The lines that tell what happened since `version`, for at most `seconds`; then the end, or ApiAway midway.

        Raises ApiAway, ApiDenied, VersionGone before the first line.
        """
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(seconds),
            "labelSelector": selector,
        }
        with self._answer(_path(namespace), query) as reply:
            yield _lines(reply)

    def has(self, namespace: str, name: str, uid: str) -> bool:
        """Whether the very pod `uid` is still there, by the right to list. Raises ApiAway, ApiDenied, VersionGone."""
        named = [raw for page in self.pages(namespace, "", 1, f"metadata.name={name}") for raw in page.items or ()]
        try:
            return any(_named(raw).metadata.uid == uid for raw in named)
        except _UNREADABLE:
            raise ApiAway("the API server answered with something that is no pod") from None

    def wake(self) -> None:
        """From another thread: end what is waited for."""
        self._peer.wake()

    def close(self) -> None:
        """Close the connection."""
        self._peer.close()

    @contextmanager
    def _answer(self, path: str, query: dict[str, str]) -> Iterator[Reply]:
        given = urlencode({key: value for key, value in query.items() if value})
        try:
            with self._peer.open("GET", f"{path}?{given}" if given else path) as reply:
                if reply.status != 200:
                    raise _fault(reply)
                yield reply
        except PeerAway as fault:
            raise ApiAway(str(fault)) from fault


def refusal_of(status: wire.Refusal) -> ApiAway | ApiDenied | VersionGone:
    """What a Status object means, which stands in an answer or in a line of a watch."""
    said = f"the API server says {status.code or '?'} {status.reason or ''}: {status.message or 'no reason'}"[:500]
    if status.code == 410 or status.reason in ("Gone", "Expired"):
        return VersionGone(said)
    if status.code == 403:
        return ApiDenied(said)
    return ApiAway(said)


def refusal_in(raw: bytes) -> ApiAway | ApiDenied | VersionGone:
    """What the object of an ERROR line means."""
    try:
        return refusal_of(_refusal(raw))
    except _UNREADABLE:
        return ApiAway("the watch told of an error that cannot be read")


def version_of(raw: bytes) -> str:
    """The version of any object, "" where it has none that can be read."""
    try:
        return _bookmark(raw).metadata.resource_version
    except _UNREADABLE:
        return ""


def _path(namespace: str, kind: str = "pods") -> str:
    return f"/api/v1/{kind}" if namespace == EVERYWHERE else f"/api/v1/namespaces/{quote(namespace, safe='')}/{kind}"


def _fault(reply: Reply) -> ApiAway | ApiDenied | VersionGone:
    said = wire.Refusal()
    try:
        said = _refusal(_whole(reply))
    except (*_UNREADABLE, ApiAway, PeerAway):
        pass
    return refusal_of(wire.Refusal(reply.status, said.reason, said.message or f"HTTP status {reply.status}"))


def _page(body: bytes) -> wire.PodList:
    try:
        page = _list(body)
    except _UNREADABLE as fault:
        raise ApiAway(f"the API server answered with something that is no list: {fault}") from None
    if not page.metadata.resource_version:
        # Without this check, an empty object would pass for a cluster from which all pods are gone.
        raise ApiAway("the API server answered with a list that has no version")
    return page


def _whole(reply: Reply) -> bytes:
    content = bytearray()
    for piece in reply.pieces():
        content += piece
        if len(content) > _BODY_MAX_BYTES:
            raise ApiAway(f"an answer of the API server has more than {_BODY_MAX_BYTES} bytes; lower page_size")
    return bytes(content)


def _lines(reply: Reply) -> Iterator[bytes]:
    """The whole lines as they come; what follows the last line break was cut off and is not given."""
    rest = bytearray()
    for piece in reply.pieces():
        rest += piece
        if b"\n" in piece:
            *lines, tail = bytes(rest).split(b"\n")
            rest = bytearray(tail)
            yield from (line for line in lines if line.strip())
        if len(rest) > _LINE_MAX_BYTES:
            raise ApiAway(f"a line of the watch has more than {_LINE_MAX_BYTES} bytes")
