"""What a client certificate says of its owner, read once per connection from what TLS has verified."""

from __future__ import annotations

import re
from collections.abc import MutableMapping, Sequence
from typing import Any

from msgspec import Struct

_SHORT = {
    "commonName": "CN",
    "countryName": "C",
    "domainComponent": "DC",
    "emailAddress": "emailAddress",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "stateOrProvinceName": "ST",
    "streetAddress": "STREET",
    "userId": "UID",
}
_KINDS = {"DNS": "DNS", "URI": "URI", "email": "email", "IP Address": "IP"}
_SPECIAL = re.compile(r'([,+"\\<>;=])')
_KEY = "jobmeter.certificate"

Rdns = Sequence[Sequence[tuple[str, str]]]


class Certificate(Struct, frozen=True):
    """`subject` as RFC 4514 writes it (most special part first), `grid_subject` as grid tools do (`/DC=…/CN=…`).

    `names` are the alternative names, each with its kind before a colon: DNS, URI, email, IP.
    """

    subject: str
    grid_subject: str
    common_name: str | None
    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, told: MutableMapping[str, Any]) -> Certificate:
        """From what `ssl.SSLObject.getpeercert` gives for a verified certificate."""
        rdns: Rdns = told.get("subject", ())
        common = [value for rdn in rdns for kind, value in rdn if kind == "commonName"]
        names = tuple(
            f"{_KINDS[kind]}:{value}" for kind, value in told.get("subjectAltName", ()) if kind in _KINDS and value
        )
        return cls(_rfc4514(rdns), _grid(rdns), common[0] if common else None, names)


def certificate_of(scope: MutableMapping[str, Any]) -> Certificate | None:
    """The certificate that the client of this request has shown and TLS has verified, or None."""
    found = scope.get("extensions", {}).get(_KEY)
    return found if isinstance(found, Certificate) else None


def extension(transport: Any) -> dict[str, Certificate]:
    """What goes into the extensions of a scope for a connection: its client's certificate, if there is one."""
    tls = transport.get_extra_info("ssl_object")
    told = None if tls is None else tls.getpeercert()
    return {_KEY: Certificate.of(told)} if told else {}


def _rfc4514(rdns: Rdns) -> str:
    return ",".join("+".join(f"{_short(kind)}={_escaped(value)}" for kind, value in rdn) for rdn in reversed(rdns))


def _grid(rdns: Rdns) -> str:
    # A slash within a value would make two different subjects look the same.
    return "".join(f"/{_short(kind)}=" + value.replace("/", "\\/") for rdn in rdns for kind, value in rdn)


def _short(kind: str) -> str:
    return _SHORT.get(kind, kind)


def _escaped(value: str) -> str:
    value = _SPECIAL.sub(r"\\\1", value).replace("\0", "\\00")
    if value[:1] in ("#", " "):
        value = "\\" + value
    return value[:-1] + "\\ " if value.endswith(" ") and len(value) > 1 and value[-2] != "\\" else value
