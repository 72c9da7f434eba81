"""How the door decides, as a value; and how the settings say so."""

from __future__ import annotations

from msgspec import Struct

from jobmeter.serve.access import CertificateGrant
from jobmeter.serve.rbac import grants_of
from jobmeter.serve.settings import ServeSettings, rbac_of, tls_of


class Policy(Struct, frozen=True):
    """How the door decides.

    `required`: an asker must be named by a token or a certificate, and has the rights granted to them.
    `any_certificate`: whoever shows a certificate that TLS has verified may do everything.
    Neither: everybody may do everything. With `encrypted`, what comes unencrypted is let in from this machine only,
    and only by a token.
    """

    required: bool = False
    any_certificate: bool = False
    encrypted: bool = False
    certificates: tuple[CertificateGrant, ...] = ()
    body_bytes: int = 2_097_152

    @property
    def asks(self) -> bool:
        """Whether anybody is asked who they are."""
        return self.required or self.any_certificate


def policy_of(settings: ServeSettings) -> Policy:
    """What the settings ask for."""
    tls = tls_of(settings)
    certificates = settings.access.certificates
    rbac = rbac_of(settings)
    if rbac is not None:
        certificates += grants_of(rbac).grants
    required = settings.access.required or bool(certificates) or rbac is not None
    must_show = tls is not None and tls.client_certificates == "required"
    return Policy(
        required=required,
        any_certificate=must_show and not required,
        encrypted=tls is not None,
        certificates=certificates,
        body_bytes=settings.limits.body_bytes,
    )
