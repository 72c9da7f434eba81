"""The settings of who may do what, and the grants that they make for the owners of certificates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from msgspec import Meta, Struct

from jobmeter.model.access import Asker, Grant, Limits, Role, limits_fault
from jobmeter.serve.certificate import Certificate

RoleName = Literal["write", "write-documents", "read", "correct", "administer", "monitor"]
Words = tuple[str, ...]
_LISTED = {"scalar_ok": True}


class CertificateGrant(Struct, frozen=True):
    """What the owner of one client certificate may do, named in exactly one way; a second entry adds rights."""

    roles: Annotated[
        tuple[RoleName, ...],
        Meta(description="What is allowed.", examples=[["write"]], extra=_LISTED),
    ]
    common_name: Annotated[str | None, Meta(description="First common name of the certificate's subject.")] = None
    subject: Annotated[
        str | None, Meta(description="The whole subject: CN=a,OU=b,O=c (RFC 4514), or /O=c/OU=b/CN=a as grid tools do.")
    ] = None
    name: Annotated[
        str | None, Meta(description="An alternative name with its kind, such as DNS:host, URI:…, email:…, IP:….")
    ] = None
    sites: Annotated[Words | None, Meta(description="Only what belongs to these sites.", extra=_LISTED)] = None
    clusters: Annotated[Words | None, Meta(description="Only what belongs to these clusters.", extra=_LISTED)] = None
    record_prefixes: Annotated[
        Words | None, Meta(description="Write or correct only records whose ids begin so.", extra=_LISTED)
    ] = None
    meta: Annotated[
        dict[str, Words], Meta(description="Only records that hold one of these values under each of these meta keys.")
    ] = {}

    def __post_init__(self) -> None:
        if sum(way is not None for way in (self.common_name, self.subject, self.name)) != 1:
            raise ValueError("give one of common_name, subject and name, to say whose certificate it is")
        if (fault := limits_fault(self.grant.roles, self.grant.limits)) is not None:
            raise ValueError(fault)

    @property
    def grant(self) -> Grant:
        """The same as a value."""
        limits = Limits(self.sites, self.clusters, self.record_prefixes, self.meta)
        return Grant(frozenset(map(Role, self.roles)), limits)

    def fits(self, certificate: Certificate) -> bool:
        """Whether the certificate is that of the owner."""
        if self.common_name is not None:
            return self.common_name == certificate.common_name
        if self.subject is not None:
            return self.subject in (certificate.subject, certificate.grid_subject)
        return self.name in certificate.names


class AccessSettings(Struct, frozen=True):
    """Who may do what."""

    required: Annotated[
        bool,
        Meta(
            description="Ask everyone for a bearer token (`jobmeter token create`) or a certificate listed below. "
            "So it is, too, where certificates are listed."
        ),
    ] = False
    certificates: Annotated[
        tuple[CertificateGrant, ...], Meta(description="Owners of client certificates and what they may do.")
    ] = ()


def asker_of_certificate(certificate: Certificate, granted: Sequence[CertificateGrant]) -> Asker:
    """Who shows this certificate: perhaps somebody to whom nothing was granted."""
    return Asker(f"certificate {certificate.subject}", tuple(_fitting(certificate, granted)))


def _fitting(certificate: Certificate, granted: Sequence[CertificateGrant]) -> Iterator[Grant]:
    return (one.grant for one in granted if one.fits(certificate))
