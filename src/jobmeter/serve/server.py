"""uvicorn, set up for this application: our protocol, sockets bound beforehand, a stop that ends with exit code 0."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Sequence
from types import FrameType

import uvicorn

from jobmeter.serve.app import Application
from jobmeter.serve.protocol import protocol_class
from jobmeter.serve.settings import Limits

BACKLOG = 1024


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


class Server(uvicorn.Server):
    """One run of the server. `ready` is called once it answers; `stop` ends it in order, from any thread."""

    def __init__(self, app: Application, limits: Limits, ready: Callable[[], None]) -> None:
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
                backlog=BACKLOG,
                timeout_keep_alive=limits.keep_alive_seconds,
                timeout_graceful_shutdown=limits.shutdown_seconds,
            )
        )
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so."""
        await super().startup(sockets)
        self._ready()

    def stop(self) -> None:
        """Answer what is in progress, write what waits, and end."""
        self.should_exit = True


def serve(app: Application, limits: Limits, sockets: list[socket.socket], ready: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT; what is in progress is finished first. For the main thread."""
    server = Server(app, limits, ready)

    def stop(number: int, frame: FrameType | None) -> None:
        del number, frame
        server.stop()

    # uvicorn raises the signal that ended it once more after its orderly end; these handlers make that harmless.
    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        server.run(sockets)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
