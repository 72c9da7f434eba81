"""Publishes messages of APEL to the Argo messaging service, signed, by either form of address.

A token is asked for with the client certificate and used until the service refuses it. An item is the text of a message
(`jobmeter.report.apel.message`); its receipt is the id that the service gives it. Only an answer with a message id is
Accepted, and only a message that the service can never take is Rejected.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from urllib.parse import quote, urlsplit

import msgspec
from msgspec import Meta, Struct

from jobmeter.model.outcome import Accepted, Keep, Outcome, Rejected
from jobmeter.peer import TIMEOUT_MAX_SECONDS, Answer, Endpoint, Peer, PeerAway
from jobmeter.settings.fault import WrongValue
from jobmeter.wire.smime import SignerUnfit, signer

_REASON_MAX_CHARACTERS = 1000

log = logging.getLogger("jobmeter.sinks")


class Settings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where tokens and messages go, and with what certificate."""

    token_url: Annotated[
        str, Meta(description="Address that gives a token to the certificate.", examples=["https://h/t"])
    ]
    publish_url: Annotated[
        str,
        Meta(
            description="Address that takes messages; it ends in `=` where the token stands in it.",
            examples=["https://h/p"],
        ),
    ]
    certificate_file: Annotated[str, Meta(description="PEM file of the certificate that identifies and signs.")]
    key_file: Annotated[str, Meta(description="PEM file of its private key.")]
    ca_path: Annotated[str | None, Meta(description="Folder or file of authorities; default: the system's.")] = None
    verify: Annotated[bool, Meta(description="Check the certificate of the service.")] = True
    timeout_seconds: Annotated[
        float, Meta(gt=0, le=TIMEOUT_MAX_SECONDS, description="How long a whole answer may take.")
    ] = 30

    def __post_init__(self) -> None:
        for key in ("token_url", "publish_url"):
            parts = urlsplit(getattr(self, key))
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise WrongValue(key, "is no http:// or https:// address")

    @property
    def token_in_address(self) -> bool:
        """Whether the token stands in the address, as the older interface has it, or in a header."""
        return self.publish_url.endswith("=")


class _Token(Struct):
    token: str


class _Published(Struct):
    messageIds: list[str]  # noqa: N815 - the service's word


class AmsSink:
    """A sink (see `jobmeter.contract.Sink`) whose items are texts of messages."""

    batch_limit = 1

    def __init__(self, settings: Settings, now: Callable[[], datetime]) -> None:
        self._settings = settings
        self._now = now
        self._token: str | None = None
        self._tokens = Peer(_endpoint(settings, settings.token_url))
        self._messages = Peer(_endpoint(settings, settings.publish_url), headers=self._headers)

    def send(self, items: Sequence[bytes]) -> Sequence[Outcome]:
        """What became of each message. One that cannot be sent now keeps those after it, too."""
        outcomes: list[Outcome] = []
        for item in items:
            outcome = self._sent(item)
            outcomes.append(outcome)
            if isinstance(outcome, Keep):
                outcomes += [outcome] * (len(items) - len(outcomes))
                break
        return outcomes

    def close(self) -> None:
        """Close the connections."""
        self._tokens.close()
        self._messages.close()

    def _sent(self, item: bytes) -> Outcome:
        try:
            body = self._enveloped(item.decode("ascii"))
        except UnicodeDecodeError:
            return Rejected("the message is not ASCII")
        except (SignerUnfit, OSError) as fault:
            return Keep(reason=f"cannot sign: {fault}")
        try:
            answer = self._published(body)
        except PeerAway as fault:
            return Keep(reason=str(fault))
        return self._judged(answer)

    def _enveloped(self, text: str) -> bytes:
        # The files are read each time: certificates of hosts are renewed while the reporter runs.
        settings = self._settings
        now = self._now().astimezone(UTC)
        pair = (Path(settings.certificate_file).read_bytes(), Path(settings.key_file).read_bytes())
        data = base64.b64encode(signer(*pair, now).sign(text)).decode()
        message = {"attributes": {"empaid": now.strftime("%Y%m%d/%Y%m%d%H%M%S")}, "data": data}
        return msgspec.json.encode({"messages": [message]})

    def _published(self, body: bytes) -> Answer:
        """The answer of the service, with a fresh token when the one at hand has expired. Raises PeerAway."""
        fresh = self._token is None
        if fresh:
            self._token = self._asked_token()
        answer = self._messages.exchange("POST", self._address(), body)
        if answer.status in (401, 403) and not fresh:
            self._token = self._asked_token()
            answer = self._messages.exchange("POST", self._address(), body)
        if answer.status in (401, 403):
            self._token = None
        return answer

    def _asked_token(self) -> str:
        answer = self._tokens.exchange("GET", _path(self._settings.token_url))
        try:
            if answer.status == 200:
                return msgspec.json.decode(answer.body, type=_Token).token
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise PeerAway(f"{self._tokens.address}: the answer holds no token") from None
        raise PeerAway(f"{self._tokens.address}: no token, status {answer.status}: {_text(answer)}")

    def _address(self) -> str:
        path = _path(self._settings.publish_url)
        return f"{path}{quote(self._token or '', safe='')}" if self._settings.token_in_address else path

    def _headers(self) -> dict[str, str]:
        return {} if self._settings.token_in_address else {"x-api-key": self._token or ""}

    def _judged(self, answer: Answer) -> Outcome:
        if answer.status == 200:
            try:
                ids = msgspec.json.decode(answer.body, type=_Published).messageIds
            except (msgspec.MsgspecError, UnicodeDecodeError):
                ids = []
            if ids:
                log.info("ams.published id=%s", ids[0])
                return Accepted(receipt=ids[0])
            return Keep(reason=f"the service answered 200, and gave no message id: {_text(answer)}")
        if answer.status == 413:
            return Rejected(
                f"status 413: the message is too large for the service, lower message_bytes ({_text(answer)})"
            )
        if answer.status in (400, 422):
            return Rejected(f"status {answer.status}: {_text(answer)}")
        return Keep(reason=f"status {answer.status}: {_text(answer)}")


def open_sink(settings: Settings) -> AmsSink:
    """The sink for a messaging service. Raises TlsFilesUnusable."""
    return AmsSink(settings, lambda: datetime.now(UTC))


def _endpoint(settings: Settings, url: str) -> Endpoint:
    parts = urlsplit(url)
    return Endpoint(
        f"{parts.scheme}://{parts.netloc}",
        settings.timeout_seconds,
        settings.ca_path,
        settings.certificate_file,
        settings.key_file,
        verify=settings.verify,
    )


def _path(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def _text(answer: Answer) -> str:
    return answer.body[:_REASON_MAX_CHARACTERS].decode("utf-8", "replace").strip() or "no details"
