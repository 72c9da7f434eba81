"""HTTP as sinks and job sources need it: a kept-open connection, whole answers within a time, nothing guessed.

Standard library only: short-lived commands use it, too.
"""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from jobmeter import __version__

TIMEOUT_MAX_SECONDS = 3600

_ANSWER_MAX_BYTES = 2**24
_PIECE_BYTES = 2**16
_TOKEN_MAX_CHARACTERS = 4096
_STALE = (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError, ConnectionAbortedError)


class Endpoint(NamedTuple):
    """Where a peer is and how to talk to it; `timeout_seconds` is how long a whole answer may take.

    `ca_file` may be a folder of authorities in OpenSSL's form. Without `verify` any certificate of the peer will do.
    """

    address: str
    timeout_seconds: float
    ca_file: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None
    verify: bool = True

    def fault(self) -> str | None:
        """Why this cannot be used, or None."""
        try:
            parts = urlsplit(self.address)
            port = parts.port
        except ValueError as error:
            return f"address {self.address!r}: {error}"
        if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
            return f"address {self.address!r} is not http://HOST:PORT or https://HOST:PORT"
        if parts.username is not None or parts.query or parts.fragment:
            return "address holds a user name, a query or a fragment"
        if (self.certificate_file is None) != (self.key_file is None):
            return "certificate_file and key_file go together"
        if not 0 < self.timeout_seconds <= TIMEOUT_MAX_SECONDS:
            return f"timeout_seconds is not above 0 and up to {TIMEOUT_MAX_SECONDS}"
        return None


class TlsFilesUnusable(Exception):  # noqa: N818 - the name says the fact
    """A certificate, key or authority file cannot be read or does not fit; the message names the files."""


class PeerAway(Exception):  # noqa: N818
    """The peer could not be reached or gave no whole answer in time; the message says what happened."""


class Answer(NamedTuple):
    """A whole answer of a peer; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Reply:
    """The head of an answer, and its body as it comes."""

    def __init__(self, response: http.client.HTTPResponse, address: str) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.has_end = response.chunked or response.length is not None
        """Whether the peer marks the end, so that an answer that was cut can be told from a whole one."""
        self._response = response
        self._address = address

    def pieces(self) -> Iterator[bytes]:
        """The body in pieces. Raises PeerAway when it breaks off before its end."""
        response = self._response
        try:
            while piece := response.read1(_PIECE_BYTES):
                yield piece
        except (OSError, http.client.HTTPException) as error:
            raise PeerAway(f"{self._address}: the answer broke off ({_told(error)})") from error
        if not response.chunked and response.length:
            raise PeerAway(f"{self._address}: the answer broke off, {response.length} bytes are missing")
        response.close()  # only now, with nothing left to read, may the connection be used again

    def whole(self) -> bytes:
        """The body. Raises PeerAway, also when it is too large to be an answer to anything asked here."""
        content = bytearray()
        for piece in self.pieces():
            content += piece
            if len(content) > _ANSWER_MAX_BYTES:
                raise PeerAway(f"{self._address}: the answer has more than {_ANSWER_MAX_BYTES} bytes")
        return bytes(content)


class _InOnePiece(http.client.HTTPConnection):
    """Sends head and body of a request together: one packet for a small one, and one wake-up of the peer."""

    _pieces: list[bytes] | None = None

    def request(self, *words: Any, **named: Any) -> None:
        self._pieces = []
        try:
            super().request(*words, **named)
            pieces = self._pieces
        finally:
            self._pieces = None
        super().send(b"".join(pieces))

    def send(self, data: Any) -> None:
        if self._pieces is None:
            super().send(data)
        else:
            self._pieces.append(data)


class _InOnePieceTls(_InOnePiece, http.client.HTTPSConnection):
    """The same over TLS."""


class Peer:
    """An HTTP connection that is opened when needed and kept open. Not for several threads at once.

    Redirects are not followed and environment variables are not looked at: records go where the settings say.
    `tls` is used in place of the endpoint's files. `headers` gives further headers and is asked anew for every request,
    as a token may be replaced. Raises TlsFilesUnusable when made with https and files that do not serve.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        tls: ssl.SSLContext | None = None,
        headers: Callable[[], Mapping[str, str]] | None = None,
    ) -> None:
        parts = urlsplit(endpoint.address)
        self.endpoint = endpoint
        self.address = endpoint.address
        self._host = parts.hostname or ""
        self._port = parts.port
        self._prefix = parts.path.rstrip("/")
        self._timeout_seconds = endpoint.timeout_seconds
        self._tls = (tls or _tls_context(endpoint)) if parts.scheme == "https" else None
        self._headers = headers
        self._connection: http.client.HTTPConnection | None = None
        self._socket: socket.socket | None = None
        self._limit = _Limit(self.wake)

    def exchange(self, method: str, path: str, body: bytes | None = None, *, seconds: float | None = None) -> Answer:
        """One request with its whole answer, all within the timeout, or within `seconds`. Raises PeerAway."""
        allowed = self._timeout_seconds if seconds is None else min(seconds, self._timeout_seconds)
        self._limit.begin(allowed)
        try:
            with self.open(method, path, body) as reply:
                return Answer(reply.status, reply.headers, reply.whole())
        except PeerAway as fault:
            if self._limit.passed:
                raise PeerAway(f"{self.address}: no whole answer in {allowed:g} s") from fault
            raise
        finally:
            self._limit.end()

    @contextmanager
    def open(self, method: str, path: str, body: bytes | None = None, *, accept: str = "*/*") -> Iterator[Reply]:
        """One request and the head of its answer; the timeout counts for each wait. Raises PeerAway."""
        response = self._response(method, path, body, accept)
        try:
            yield Reply(response, self.address)
        finally:
            # What is left of a body would stand before the next answer on this connection.
            if response.will_close or not response.isclosed():
                response.close()
                self.close()

    def wake(self) -> None:
        """From another thread: whoever waits for an answer on this connection gets PeerAway, or its end, at once."""
        connection = self._socket
        if connection is not None:
            with suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._socket = None

    def _response(self, method: str, path: str, body: bytes | None, accept: str) -> http.client.HTTPResponse:
        headers = {"User-Agent": f"jobmeter/{__version__}", "Accept": accept}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if self._headers is not None:
            headers.update(self._headers())
        try:
            kept_open = self._connection is not None
            try:
                return self._request(method, path, body, headers)
            except _STALE:
                # The peer closes connections that were idle for long, which shows only at the next use.
                if not kept_open:
                    raise
                self.close()
                return self._request(method, path, body, headers)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise PeerAway(f"{self.address}: {_told(error)}") from error

    def _request(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> http.client.HTTPResponse:
        if self._connection is None:
            self._connection = self._connected()
        try:
            self._connection.request(method, self._prefix + path, body, dict(headers))
        except (BrokenPipeError, ConnectionResetError) as broken:
            # A peer may answer (413, say) and close before it has read the whole body.
            try:
                return self._connection.getresponse()
            except (OSError, http.client.HTTPException):
                raise broken from None
        return self._connection.getresponse()

    def _connected(self) -> http.client.HTTPConnection:
        timeout = self._timeout_seconds
        if self._tls is None:
            connection: http.client.HTTPConnection = _InOnePiece(self._host, self._port, timeout=timeout)
        else:
            connection = _InOnePieceTls(self._host, self._port, timeout=timeout, context=self._tls)
        connection.connect()
        self._socket = connection.sock
        return connection


class _Limit:
    """Calls `wake` when something takes too long. One thread watches all that is done one after another.

    A thread for each request would take as long as the rest of a short one. It ends when it finds nothing to watch.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._changed = threading.Condition()
        self._until: float | None = None
        self._looks_at = 0.0
        self._is_watched = False
        self.passed = False
        """Whether what was begun last took too long."""

    def begin(self, seconds: float) -> None:
        """Something begins that may take so long."""
        with self._changed:
            self.passed = False
            self._until = time.monotonic() + seconds
            if not self._is_watched:
                self._is_watched = True
                threading.Thread(target=self._watch, name="limit", daemon=True).start()
            elif self._until < self._looks_at:
                self._changed.notify()

    def end(self) -> None:
        """It has ended."""
        with self._changed:
            self._until = None

    def _watch(self) -> None:
        with self._changed:
            while self._until is not None:
                left = self._until - time.monotonic()
                if left > 0:
                    self._looks_at = self._until
                    self._changed.wait(left)
                else:
                    self.passed, self._until = True, None
                    self._wake()
            self._is_watched = False


def bearer(token: str | None, file: str | None) -> Callable[[], Mapping[str, str]] | None:
    """Headers that show a bearer token, as given or as it stands in `file` at the time; None without either.

    The headers raise PeerAway when the file holds no token: nothing can be sent now, and may be when it is mended.
    """
    if file is not None:
        return lambda: {"Authorization": f"Bearer {_token_in(file)}"}
    return None if token is None else lambda: {"Authorization": f"Bearer {token}"}


def _token_in(file: str) -> str:
    try:
        with open(file, encoding="utf-8") as opened:  # noqa: PTH123 - pathlib costs an epilog 5 ms
            token = opened.read(_TOKEN_MAX_CHARACTERS).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise PeerAway(f"the token cannot be read: {error}") from error
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise PeerAway(f"{file} holds no token")
    return token


def _tls_context(endpoint: Endpoint) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not endpoint.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    try:
        if endpoint.ca_file is not None:
            is_folder = os.path.isdir(endpoint.ca_file)  # noqa: PTH112 - pathlib costs a short command 10 ms
            context.load_verify_locations(**{"capath" if is_folder else "cafile": endpoint.ca_file})
        if endpoint.certificate_file is not None:
            context.load_cert_chain(endpoint.certificate_file, endpoint.key_file)
    except OSError as error:  # ssl.SSLError is one
        names = [name for name in (endpoint.ca_file, endpoint.certificate_file, endpoint.key_file) if name is not None]
        raise TlsFilesUnusable(f"{', '.join(names)}: {_told(error)}") from error
    return context


def _told(error: Exception) -> str:
    return str(error) or type(error).__name__
