"""Where the server is, who we are, and how long we wait."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

import httpx
from msgspec import Struct

from jobmeter import __version__

_WAIT_FIRST_SECONDS = 0.5


class Access(Struct, frozen=True, kw_only=True):
    """The way to a server.

    `token` is a bearer token; `certificate_file` and `key_file` are a client certificate, `ca_file` an authority to
    trust besides those of the system (all PEM). `answer_seconds` bounds each wait for the server, not a whole stream.
    A call is tried `attempts` times where a repeat does no harm, with waits up to `longest_wait_seconds` between.
    Redirects are not followed, and proxies and other variables of the environment are not looked at: records go where
    the address says.
    """

    address: str = "http://127.0.0.1:8000"
    token: str | None = None
    ca_file: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None
    connect_seconds: float = 10.0
    answer_seconds: float = 60.0
    attempts: int = 4
    longest_wait_seconds: float = 30.0

    def __post_init__(self) -> None:
        url = httpx.URL(self.address)
        if url.scheme not in ("http", "https") or not url.host or url.query or url.fragment or url.userinfo:
            raise ValueError(f"address {self.address!r} is not http://HOST:PORT or https://HOST:PORT")
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file go together")
        if self.attempts < 1:
            raise ValueError("attempts must be 1 or more")

    def __repr__(self) -> str:
        return f"Access({self.address!r})"  # never the token

    def url(self, path: str) -> str:
        """The whole address of a path (with its query)."""
        return f"{self.address.rstrip('/')}{path}"

    def wait_seconds(self, failures: int, asked_seconds: float, chance: float) -> float:
        """How long to wait after so many failures; `chance` from 0 to 1 keeps many clients from coming at once."""
        bound = min(_WAIT_FIRST_SECONDS * 2.0 ** min(failures - 1, 32), self.longest_wait_seconds)
        return max(chance * bound, min(asked_seconds, self.longest_wait_seconds))

    def options(self) -> dict[str, Any]:
        """What httpx needs to know, for either of its clients. Raises OSError for files that do not serve."""
        headers: Mapping[str, str] = {"User-Agent": f"jobmeter-client/{__version__}"}
        if self.token is not None:
            headers = {**headers, "Authorization": f"Bearer {self.token}"}
        return {
            "headers": headers,
            "timeout": httpx.Timeout(self.answer_seconds, connect=self.connect_seconds),
            "verify": self._tls() if self.address.startswith("https:") else False,
            "trust_env": False,
            "follow_redirects": False,
        }

    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self.ca_file is not None:
            context.load_verify_locations(cafile=self.ca_file)
        if self.certificate_file is not None:
            context.load_cert_chain(self.certificate_file, self.key_file)
        return context
