"""Where the server listens: sockets for plain HTTP and for TLS, bound before anything else is begun."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from socket import socket
from typing import NamedTuple

from jobmeter.serve.server import Tls, bind
from jobmeter.serve.settings import ServeSettings, tls_of
from jobmeter.serve.tls import tls_context


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


def listen(settings: ServeSettings) -> Listeners:
    """Sockets at all addresses of the settings. Raises AddressUnusable and TlsUnusable."""
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


def remote_addresses(settings: ServeSettings) -> Sequence[str]:
    """Those of the settings' addresses that other machines may reach."""
    tls = tls_of(settings)
    encrypted = () if tls is None else tls.https_addr
    return [address for address in dict.fromkeys([*settings.application.addr, *encrypted]) if not is_loopback(address)]


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches the address."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def _address(one: socket, scheme: str) -> str:
    host, port = one.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
