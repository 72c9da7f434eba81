"""From where the addresses of the server can be reached."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from jobmeter.serve.settings import ServeSettings, tls_of


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
