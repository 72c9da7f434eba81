"""The builder of python-auditor's clients."""

from __future__ import annotations

import operator
from pathlib import Path
from typing import Self

from jobmeter.client.access import Access
from jobmeter.client.pyauditor.clients import AuditorClient, AuditorClientBlocking, QueuedAuditorClient
from jobmeter.client.pyauditor.queries import unsigned

_MEMORY = "sqlite::memory:"


class AuditorClientBuilder:
    """Says where the server is; each method changes the builder and returns it.

    `token` is ours: a bearer token for a server that asks for one.
    """

    def __init__(self) -> None:
        self._address = "127.0.0.1:8080"
        self._timeout_seconds = 30
        self._interval_seconds = 60
        self._database = _MEMORY
        self._tls: tuple[str, str, str] | None = None
        self._token: str | None = None

    def address(self, address: str, port: int) -> Self:
        """Host (a scheme may stand before it) and port."""
        self._address = f"{address}:{unsigned(port, 65536)}"
        return self

    def connection_string(self, connection_string: str) -> Self:
        """The whole address."""
        self._address = connection_string.rstrip("/")
        return self

    def timeout(self, timeout: int) -> Self:
        """How long to wait for an answer, in seconds."""
        self._timeout_seconds = operator.index(timeout)
        return self

    def send_interval(self, interval: int) -> Self:
        """The pause between two rounds of the queue, in seconds."""
        self._interval_seconds = operator.index(interval)
        return self

    def database_path(self, path: str) -> Self:
        """The queue's file: a path, `sqlite:PATH` or `sqlite://PATH`."""
        self._database = path
        return self

    def with_tls(self, client_cert_path: str, client_key_path: str, ca_cert_path: str) -> Self:
        """Encrypt, show this certificate, and trust this authority."""
        self._tls = (client_cert_path, client_key_path, ca_cert_path)
        return self

    def token(self, token: str) -> Self:
        """Show this bearer token."""
        self._token = token
        return self

    def build(self) -> AuditorClient:
        """The client whose methods are awaited."""
        return AuditorClient(self._access())

    def build_blocking(self) -> AuditorClientBlocking:
        """The client that waits."""
        return AuditorClientBlocking(self._access())

    async def build_queued(self) -> QueuedAuditorClient:
        """The client with a queue."""
        if self._interval_seconds < 0:
            raise RuntimeError("INVALID_TIME_INTERVAL")
        return QueuedAuditorClient(self._access(), _queue_file(self._database), self._interval_seconds)

    def _access(self) -> Access:
        if self._timeout_seconds < 0:
            raise RuntimeError("INVALID_TIME_INTERVAL")
        scheme = "http" if self._tls is None else "https"
        address = self._address if "://" in self._address else f"{scheme}://{self._address}"
        certificate, key, authority = self._tls or (None, None, None)
        try:
            return Access(
                address=address,
                token=self._token,
                ca_file=authority,
                certificate_file=certificate,
                key_file=key,
                connect_seconds=self._timeout_seconds,
                answer_seconds=self._timeout_seconds,
                attempts=1,
            )
        except ValueError as fault:
            raise RuntimeError(f"Reqwest Error: builder error: {fault}") from fault


def _queue_file(path: str) -> Path | None:
    if path in (_MEMORY, "sqlite://:memory:", ":memory:"):
        return None
    plain = path.removeprefix("sqlite://").removeprefix("sqlite:").partition("?")[0]
    if not plain:
        raise RuntimeError("the path of the queue is empty")
    return Path(plain)
