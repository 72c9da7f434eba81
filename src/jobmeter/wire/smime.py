"""Signed messages: S/MIME with a detached signature, as APEL's receiver checks them.

The text becomes the first part of a `multipart/signed`, as `text/plain` with CRLF line ends; the receiver (apel-ssm)
insists on that part header. Signed with SHA-256 (RFC 8551).
"""

from __future__ import annotations

from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs7
from msgspec import Struct


class SignerUnfit(Exception):  # noqa: N818 - the name says the fact
    """The certificate or the key cannot sign; the message says why, and never shows the key."""


class Signer(Struct, frozen=True):
    """A certificate with its key."""

    certificate: x509.Certificate
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

    @property
    def subject(self) -> str:
        """Who signs, by the distinguished name of the certificate."""
        return self.certificate.subject.rfc4514_string()

    @property
    def valid_until(self) -> datetime:
        """When the certificate expires."""
        return self.certificate.not_valid_after_utc

    def sign(self, text: str) -> bytes:
        """The signed message. `text` is ASCII."""
        builder = pkcs7.PKCS7SignatureBuilder().set_data(text.encode("ascii"))
        builder = builder.add_signer(self.certificate, self.key, hashes.SHA256())
        options = [pkcs7.PKCS7Options.DetachedSignature, pkcs7.PKCS7Options.Text]
        return builder.sign(serialization.Encoding.SMIME, options)


def signer(certificate: bytes, key: bytes, now: datetime | None = None) -> Signer:
    """The signer of a certificate and an unencrypted key, both PEM. Raises SignerUnfit."""
    try:
        found = x509.load_pem_x509_certificate(certificate)
    except ValueError as fault:
        raise SignerUnfit(f"the certificate cannot be read: {fault}") from None
    try:
        private = serialization.load_pem_private_key(key, password=None)
    except (ValueError, TypeError):
        raise SignerUnfit("the key cannot be read: it is no PEM, or it is encrypted") from None
    if not isinstance(private, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise SignerUnfit("the key is neither RSA nor of an elliptic curve")
    if private.public_key() != found.public_key():
        raise SignerUnfit("the key does not belong to the certificate")
    if (now or datetime.now(UTC)) > found.not_valid_after_utc:
        raise SignerUnfit(f"the certificate expired at {found.not_valid_after_utc.isoformat()}")
    return Signer(found, private)
