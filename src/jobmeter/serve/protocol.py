"""uvicorn's HTTP protocol with bounds of its own, and with the transport in the scope.

What is added: the application is told the certificate that the client has shown; it may close a connection without an
answer; a request that does not arrive in time, a head that grows without end, and a reader that never takes the rest of
an answer end the connection.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import MutableMapping
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from jobmeter.serve.certificate import extension
from jobmeter.serve.settings import Limits

HEAD_BYTES_MAX = 65_536
_TRANSPORT = "jobmeter.transport"
_LAST_WORDS = "HTTP/1.1 {}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{}"
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def transport_of(scope: MutableMapping[str, Any]) -> asyncio.Transport | None:
    """The connection that the request came on, or None under a server that does not tell."""
    transport = scope.get("extensions", {}).get(_TRANSPORT)
    return transport if isinstance(transport, asyncio.Transport) or hasattr(transport, "abort") else None


def break_off(scope: MutableMapping[str, Any]) -> None:
    """End the connection so that the peer sees a failure, whatever it was told before: a reset, not an end of data."""
    transport = transport_of(scope)
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()


def protocol_class(limits: Limits) -> type[LimitedProtocol]:
    """The protocol that keeps to these limits."""
    attributes = {"request_seconds": limits.request_seconds, "connections_max": limits.connections}
    return type("LimitedProtocol", (LimitedProtocol,), attributes)


class LimitedProtocol(HttpToolsProtocol):
    """One connection. `request_seconds` bounds the arrival of a whole request, `connections_max` their number."""

    request_seconds: ClassVar[float] = 60
    connections_max: ClassVar[int] = 4096

    _awaited_since: float | None = None
    _head_bytes: int | None = None
    _unsent_bytes = 0
    _check: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Refuse the connection when there are too many, else begin to watch it."""
        super().connection_made(transport)
        if len(self.connections) > self.connections_max:
            transport.abort()
            return
        self._extensions = {_TRANSPORT: transport, **extension(transport)}
        self._awaited_since = self.loop.time()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop watching."""
        if self._check is not None:
            self._check.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, and refuse a head that grows without end."""
        super().data_received(data)
        if self._head_bytes is not None:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self._end("431 Request Header Fields Too Large", f"the head is longer than {HEAD_BYTES_MAX} bytes")

    def send_400_response(self, msg: str) -> None:
        """What the parser refuses: no HTTP at all, or an address of more than 65,535 bytes."""
        del msg
        self._end(
            "400 Bad Request", f"the request is not valid HTTP, or its address has {HEAD_BYTES_MAX} bytes or more"
        )

    def _end(self, status: str, sentence: str) -> None:
        body = f'{{"error":"{sentence}"}}'
        self.transport.write(_LAST_WORDS.format(status, len(body), body).encode())
        self.transport.close()

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self.scope["extensions"] = self._extensions  # type: ignore[typeddict-item]
        self._awaited_since = self.loop.time()
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._head_bytes = None
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The whole request is there."""
        self._awaited_since = None
        super().on_message_complete()

    def _watch(self) -> None:
        self._check = self.loop.call_later(min(self.request_seconds / 4, 15), self._look)

    def _look(self) -> None:
        waited = self._awaited_since
        late = waited is not None and not self.flow.read_paused and self.loop.time() - waited > self.request_seconds
        if late or self._stuck():
            self.transport.abort()
            return
        self._watch()

    def _stuck(self) -> bool:
        """Whether a closing connection still has what it had at the last look: its reader takes nothing more."""
        before = self._unsent_bytes
        self._unsent_bytes = self.transport.get_write_buffer_size() if self.transport.is_closing() else 0
        return self._unsent_bytes > 0 and self._unsent_bytes == before
