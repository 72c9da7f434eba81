"""uvicorn, set up for this application: our protocol, sockets bound beforehand, a stop that ends with exit code 0."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, NamedTuple

import uvicorn

from jobmeter.serve.app import Application
from jobmeter.serve.protocol import protocol_class
from jobmeter.serve.settings import Limits, TlsConfig
from jobmeter.serve.tls import TlsUnusable, tls_context

BACKLOG = 1024
HANDSHAKE_SECONDS_MAX = 10.0
STARTUP_FAILURE = 3

log = logging.getLogger("jobmeter.serve")


class AddressUnusable(Exception):  # noqa: N818 - the name says the fact
    """The server cannot listen there; the message says where and why."""


def bind(addresses: Sequence[str], port: int) -> list[socket.socket]:
    """One listening socket per address. Port 0 takes a free one, the same for all. Raises AddressUnusable."""
    sockets: list[socket.socket] = []
    try:
        for address in addresses:
            sockets.append(_bound(address, port))
            port = sockets[0].getsockname()[1]
    except AddressUnusable:
        for one in sockets:
            one.close()
        raise
    return sockets


def _bound(address: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
        one = socket.socket(family, kind, protocol)
    except OSError as fault:
        raise AddressUnusable(f"cannot listen on {address}: {fault.strerror or fault}") from None
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind(place)
        one.listen(BACKLOG)
        one.setblocking(False)
    except OSError as fault:
        one.close()
        raise AddressUnusable(f"cannot listen on {address} port {port}: {fault.strerror or fault}") from None
    return one


class Tls(NamedTuple):
    """Sockets to speak TLS on, and with what."""

    sockets: Sequence[socket.socket]
    settings: TlsConfig


class Server(uvicorn.Server):
    """One run of the server. `ready` is called once it answers; `stop` ends it in order, from any thread."""

    def __init__(self, app: Application, limits: Limits, ready: Callable[[], None], tls: Tls | None = None) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=protocol_class(limits),
                loop="uvloop",
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                headers=[("x-content-type-options", "nosniff")],  # what answers is never taken for a page
                backlog=BACKLOG,
                timeout_keep_alive=limits.keep_alive_seconds,
                timeout_graceful_shutdown=limits.shutdown_seconds,
            )
        )
        self._ready = ready
        self._tls = tls
        self._handshake_seconds = min(limits.request_seconds, HANDSHAKE_SECONDS_MAX)
        self._encrypted: list[asyncio.Server] = []
        self._reloading: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so."""
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            sys.exit(STARTUP_FAILURE)
        self.servers = [await self._listening(one, None) for one in sockets or []]
        if self._tls is not None:
            await self._encrypt(self._tls)
        self.started = True
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer what is in progress, and end."""
        await super().shutdown([*(sockets or []), *([] if self._tls is None else self._tls.sockets)])

    def reload(self) -> None:
        """Read the certificates anew, for connections to come. From a signal handler of the main thread."""
        asyncio.get_event_loop().call_soon_threadsafe(self._begin_reload)

    def _begin_reload(self) -> None:
        if self._tls is not None and self.started and not self.should_exit:
            self._reloading = asyncio.create_task(self._reload(self._tls))

    async def _reload(self, tls: Tls) -> None:
        try:
            await self._encrypt(tls)
        except TlsUnusable as fault:
            log.error("tls.not_reloaded reason=%s", fault)  # noqa: TRY400 - the trace tells nothing more
        else:
            log.info("tls.reloaded certificate=%s", tls.settings.server_cert_path)

    async def _encrypt(self, tls: Tls) -> None:
        """Listen with the certificates that there are now, then no longer with those before. Raises TlsUnusable.

        A connection that waits to be accepted meanwhile waits on: both listen on the same sockets.
        """
        context = tls_context(tls.settings)
        before, self._encrypted = self._encrypted, [await self._listening(one, context) for one in tls.sockets]
        self.servers = [one for one in self.servers if one not in before] + self._encrypted
        for one in before:
            one.close()

    async def _listening(self, one: socket.socket, context: ssl.SSLContext | None) -> asyncio.Server:
        return await asyncio.get_running_loop().create_server(
            self._protocol,
            sock=one.dup(),
            ssl=context,
            backlog=BACKLOG,
            ssl_handshake_timeout=None if context is None else self._handshake_seconds,
        )

    def _protocol(self) -> asyncio.Protocol:
        make: Any = self.config.http_protocol_class
        protocol: asyncio.Protocol = make(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol

    def stop(self) -> None:
        """Answer what is in progress, write what waits, and end."""
        self.should_exit = True


def serve(
    app: Application,
    limits: Limits,
    sockets: list[socket.socket],
    ready: Callable[[], None],
    tls: Tls | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; what is in progress is finished first. For the main thread.

    SIGHUP has the certificates read anew.
    """
    server = Server(app, limits, ready, tls)

    def stop(number: int, frame: FrameType | None) -> None:
        del number, frame
        server.stop()

    def reload(number: int, frame: FrameType | None) -> None:
        del number, frame
        server.reload()

    # uvicorn raises the signal that ended it once more after its orderly end; these handlers make that harmless.
    handlers = {signal.SIGTERM: stop, signal.SIGINT: stop, signal.SIGHUP: reload}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        server.run(sockets)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
