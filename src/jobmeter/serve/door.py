"""The door: the one place where it is found out who asks, before any endpoint is reached.

Every endpoint stands in the table (`jobmeter.serve.table`) with what it needs. The door answers 401 to those who do
not say who they are, 403 to those who may not, and hands all others on with an `Asker`, which `jobmeter.serve.asker`
gives to the endpoint. What a request says of itself in `Forwarded` and `X-Forwarded-…` is never looked at: the door
goes by the connection.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import logging
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Protocol

from jobmeter.contract import StoreUnavailable
from jobmeter.model.access import Asker, Role
from jobmeter.serve.access import asker_of_certificate
from jobmeter.serve.answer import (
    UNANSWERED,
    Endpoint,
    Header,
    Problem,
    Receive,
    Scope,
    Send,
    close_unanswered,
    send_away,
    send_json,
)
from jobmeter.serve.asker import KEY
from jobmeter.serve.certificate import certificate_of
from jobmeter.serve.keyring import Keyring
from jobmeter.serve.policy import Policy

log = logging.getLogger("jobmeter.serve")

_BEARER = (b"www-authenticate", b'Bearer realm="jobmeter"')
_BASIC = (b"www-authenticate", b'Basic realm="jobmeter: any name, a token as password", charset="UTF-8"')
_DEAF = (b"auditor-client/", b"auditor/")
_READING = frozenset({"GET", "HEAD"})


class Refused(Protocol):
    """Answers those who are not let in, in a way of its own, and returns the status."""

    async def __call__(self, scope: Scope, send: Send, status: int, sentence: str, headers: Iterable[Header]) -> int:
        """Send the answer."""
        ...


class Need(Enum):
    """What an endpoint needs that is no role."""

    NOTHING = "nothing"
    """Everybody may ask, also strangers. Such an endpoint has no asker."""
    A_NAME = "a name"
    """Everybody may ask who says who they are; the endpoint looks at their rights itself."""
    A_TOKEN_WITHIN = "a token within"  # noqa: S105
    """As A_NAME, but those who say nothing outside of the body are let in without an asker: it holds a token."""


class _Refusal(Exception):  # noqa: N818 - a decision, carried to where it is answered
    def __init__(self, status: int, sentence: str, headers: Sequence[Header] = ()) -> None:
        super().__init__(sentence)
        self.status = status
        self.headers = headers


class Door:
    """One door per application."""

    def __init__(self, policy: Policy, keyring: Keyring) -> None:
        self._policy = policy
        self._keyring = keyring
        self._open = None if policy.required or policy.any_certificate else Asker.anyone()

    def guarded(
        self,
        needs: Role | Need,
        endpoint: Endpoint,
        *,
        unanswered: bool = False,
        refused: Refused | None = None,
        form: bool = False,
    ) -> Endpoint:
        """The endpoint behind the door.

        `unanswered`: when it cannot be found out who asks, the connection is closed, so that clients that take every
        answer for success keep what they wanted to send. So it is, too, when such a client is refused that tells its
        name (AUDITOR's do without TLS).

        `refused` answers in place of JSON. With `form` the endpoint looks itself where what is posted comes from, so a
        browser that tells name and password by itself is believed.
        """
        if needs is Need.NOTHING:
            return endpoint
        role = needs if isinstance(needs, Role) else None

        async def serve(scope: Scope, receive: Receive, send: Send) -> int:
            if self._open is not None:
                scope[KEY] = self._open
                return await endpoint(scope, receive, send)
            if needs is Need.A_TOKEN_WITHIN and self._says_nothing(scope):
                return await endpoint(scope, receive, send)
            try:
                asker = await self._asker(scope, role, by_name=form or scope["method"] in _READING)
            except _Refusal as refusal:
                log.info("door.refused status=%d path=%r reason=%r", refusal.status, scope["path"], str(refusal))
                if not await self._heard_out(receive):
                    return UNANSWERED
                if unanswered and _is_deaf(scope):
                    return await close_unanswered(scope, receive)
                if refused is not None:
                    return await refused(scope, send, refusal.status, str(refusal), refusal.headers)
                return await send_json(send, refusal.status, Problem(str(refusal)), refusal.headers)
            except StoreUnavailable as fault:
                return await close_unanswered(scope, receive) if unanswered else await send_away(send, str(fault))
            scope[KEY] = asker
            return await endpoint(scope, receive, send)

        return serve

    def _says_nothing(self, scope: Scope) -> bool:
        if self._policy.encrypted and scope["scheme"] == "http" and not _is_local(scope):
            return False  # refused as all are that come without encryption
        return certificate_of(scope) is None and all(name != b"authorization" for name, _ in scope["headers"])

    async def _heard_out(self, receive: Receive) -> bool:
        """Whether the client is still there when its body has come, up to the limit: else it would miss the answer."""
        heard = 0
        while heard <= self._policy.body_bytes:
            message = await receive()
            if message["type"] == "http.disconnect":
                return False
            heard += len(message.get("body", b""))
            if not message.get("more_body", False):
                break
        return True

    async def _asker(self, scope: Scope, role: Role | None, *, by_name: bool) -> Asker:
        asker = await self._named(scope, by_name)
        if role is not None and not asker.may(role):
            raise _Refusal(403, f"{asker.name} may not {role.value} here")
        return asker

    async def _named(self, scope: Scope, by_name: bool) -> Asker:
        if self._policy.encrypted and scope["scheme"] == "http" and not _is_local(scope):
            raise _Refusal(403, "this server answers over https only")
        secret = _shown_secret(scope, by_name)
        if secret is not None:
            asker = await self._keyring.asker(secret)
            if asker is None:
                invalid = (_BEARER[0], _BEARER[1] + b', error="invalid_token"')
                raise _Refusal(401, "this token is unknown, has expired or was revoked", [invalid])
            return asker
        certificate = certificate_of(scope)
        if certificate is None:
            raise _Refusal(401, "say who you are: by a bearer token" + self._or_certificate(), _challenges(by_name))
        if self._policy.any_certificate:
            return Asker.anyone(f"certificate {certificate.subject}")
        return asker_of_certificate(certificate, self._policy.certificates)

    def _or_certificate(self) -> str:
        return " or a client certificate" if self._policy.encrypted else ""


def _is_deaf(scope: Scope) -> bool:
    """Whether the client is one of AUDITOR's, which take a refused write for done, and forget the record."""
    return any(name == b"user-agent" and value.startswith(_DEAF) for name, value in scope["headers"])


def _challenges(by_name: bool) -> list[Header]:
    return [_BEARER, _BASIC] if by_name else [_BEARER]


def _is_local(scope: Scope) -> bool:
    """Whether the connection ends at an address that only this machine reaches."""
    server = scope.get("server")
    try:
        return server is not None and ipaddress.ip_address(server[0]).is_loopback
    except ValueError:
        return False


def _shown_secret(scope: Scope, by_name: bool) -> bytes | None:
    """The token's secret that the request shows, or None when it shows none. Raises _Refusal for anything else.

    `by_name`: whether it may be the password of any name.
    """
    shown = [value for name, value in scope["headers"] if name == b"authorization"]
    if not shown:
        return None
    kind, _, rest = shown[0].partition(b" ")
    if len(shown) == 1 and kind.lower() == b"bearer":
        return bytes(rest.strip())
    # A browser asks a person for name and password. It sends them by itself afterwards, also with what another site's
    # page makes it send, so they are good for reading, and for forms whose origin is looked at.
    if len(shown) == 1 and kind.lower() == b"basic" and by_name:
        try:
            return base64.b64decode(rest.strip(), validate=True).partition(b":")[2]
        except binascii.Error:
            pass
    raise _Refusal(401, "the header Authorization must be: Bearer TOKEN", _challenges(by_name))
