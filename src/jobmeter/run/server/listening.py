"""Where the server listens: sockets for plain HTTP and for TLS, bound before anything else is begun."""

from __future__ import annotations

from socket import socket
from typing import NamedTuple

from jobmeter.serve.server import AddressUnusable, Tls, bind
from jobmeter.serve.settings import ServeSettings, tls_of
from jobmeter.serve.tls import TlsUnusable, tls_context


class Listeners(NamedTuple):
    """Bound sockets that nobody answers yet."""

    plain: list[socket]
    tls: Tls | None

    @property
    def addresses(self) -> list[str]:
        """As a client would write them, TLS first."""
        encrypted = [] if self.tls is None else [_address(one, "https") for one in self.tls.sockets]
        return encrypted + [_address(one, "http") for one in self.plain]

    def close(self) -> None:
        """Listen no longer."""
        for one in [*self.plain, *(self.tls.sockets if self.tls is not None else ())]:
            one.close()


class Unable(Exception):  # noqa: N818 - the name says the fact
    """The server cannot listen as told; `wrong_use` when that is for the settings to mend."""

    def __init__(self, fault: Exception, *, wrong_use: bool) -> None:
        super().__init__(str(fault))
        self.wrong_use = wrong_use


def listen(settings: ServeSettings) -> Listeners:
    """Sockets at all addresses of the settings. Raises Unable."""
    try:
        return _listen(settings)
    except AddressUnusable as fault:
        raise Unable(fault, wrong_use=False) from fault
    except TlsUnusable as fault:
        raise Unable(fault, wrong_use=True) from fault


def _listen(settings: ServeSettings) -> Listeners:
    tls = tls_of(settings)
    if tls is not None:
        tls_context(tls)  # files that do not serve are told before anything is begun
    plain = bind(settings.application.addr, settings.application.port)
    if tls is None:
        return Listeners(plain, None)
    try:
        return Listeners(plain, Tls(bind(tls.https_addr or settings.application.addr, tls.https_port), tls))
    except BaseException:
        for one in plain:
            one.close()
        raise


def _address(one: socket, scheme: str) -> str:
    host, port = one.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
