"""Posts the summaries of ended jobs to a jobmeter server, which joins them to their records.

`POST /v2/summaries` takes all of a request or none. Only a definite answer about a summary is Accepted or Rejected.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta, Struct

from jobmeter.model.outcome import Accepted, Keep, Outcome, Rejected
from jobmeter.peer import TIMEOUT_MAX_SECONDS, Endpoint, Peer, PeerAway, bearer
from jobmeter.sinks.server import retry_after_seconds

_PATH = "/v2/summaries"
_REASON_MAX_CHARACTERS = 500
_TOO_MUCH = 413


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the server is, and how to talk to it."""

    address: Annotated[str, Meta(description="http:// or https://, host and port.")] = "http://127.0.0.1:8000"
    timeout_seconds: Annotated[
        float, Meta(gt=0, le=TIMEOUT_MAX_SECONDS, description="How long an answer may take, to its last byte.")
    ] = 30
    batch_limit: Annotated[int, Meta(ge=1, le=1000, description="How many summaries go in one request.")] = 100
    ca_file: Annotated[
        str | None, Meta(description="PEM file of an authority to trust besides those of the system.")
    ] = None
    certificate_file: Annotated[str | None, Meta(description="PEM file of the client certificate to show.")] = None
    key_file: Annotated[str | None, Meta(description="PEM file of its private key.")] = None
    token: Annotated[
        str | None, Meta(description="Bearer token that the server asks for; better in a file.", extra={"secret": True})
    ] = None
    token_file: Annotated[str | None, Meta(description="File with the bearer token, read for every request.")] = None

    def __post_init__(self) -> None:
        if (fault := self.endpoint.fault()) is not None:
            raise ValueError(fault)
        if self.token is not None and self.token_file is not None:
            raise ValueError("token and token_file exclude each other")

    @property
    def endpoint(self) -> Endpoint:
        """Where to connect to."""
        return Endpoint(self.address, self.timeout_seconds, self.ca_file, self.certificate_file, self.key_file)


class SummarySink:
    """A sink (see `jobmeter.contract.Sink`) whose items are summaries as JSON."""

    def __init__(self, settings: Settings) -> None:
        self.batch_limit = settings.batch_limit
        self._peer = Peer(settings.endpoint, headers=bearer(settings.token, settings.token_file))

    def send(self, items: Sequence[bytes]) -> Sequence[Outcome]:
        """What became of each item: a request that is refused is halved until the one at fault stands alone."""
        try:
            return self._sent(items)
        except PeerAway as fault:
            return [Keep(reason=str(fault))] * len(items)

    def close(self) -> None:
        """Close the connection."""
        self._peer.close()

    def _sent(self, items: Sequence[bytes]) -> list[Outcome]:
        answer = self._peer.exchange("POST", _PATH, b"[" + b",".join(items) + b"]")
        if answer.status == 200:
            return [Accepted()] * len(items)
        text = answer.body[:_REASON_MAX_CHARACTERS].decode("utf-8", "replace").strip() or "no details"
        reason = f"status {answer.status}: {text}"
        # 403 stands for a cluster that this client may not tell of: others may be fine, and access can be mended.
        if answer.status in (400, 403, _TOO_MUCH) and len(items) > 1:
            middle = len(items) // 2
            return [*self._sent(items[:middle]), *self._sent(items[middle:])]
        if answer.status in (400, _TOO_MUCH):
            return [Rejected(reason)]
        return [Keep(retry_after_seconds(answer.headers), reason)] * len(items)


def open_sink(settings: Settings) -> SummarySink:
    """The sink for a server. Raises TlsFilesUnusable; whether the server is there shows at the first `send`."""
    return SummarySink(settings)
