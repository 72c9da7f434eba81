"""What is signed is what OpenSSL verifies."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from jobmeter.wire.smime import SignerUnfit, signer

NOW = datetime.now(UTC)
TEXT = "APEL-sync-message: v0.1\nSite: S\nSubmitHost: h\nNumberOfJobs: 1\nMonth: 3\nYear: 2024\n%%\n"
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def made(key: Key, until: datetime = NOW + timedelta(days=1), name: str = "host.example.org") -> tuple[bytes, bytes]:
    """A certificate signed by itself, and its key, both PEM."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    builder = builder.serial_number(1).not_valid_before(NOW - timedelta(days=9)).not_valid_after(until)
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    certificate = builder.sign(key, hashes.SHA256()).public_bytes(pem)
    return certificate, key.private_bytes(pem, form, serialization.NoEncryption())


@pytest.fixture(scope="module", params=["rsa", "elliptic"])
def pair(request: pytest.FixtureRequest) -> tuple[bytes, bytes]:
    return made(
        rsa.generate_private_key(65537, 2048) if request.param == "rsa" else ec.generate_private_key(ec.SECP256R1())
    )


def verified(folder: Path, message: bytes) -> subprocess.CompletedProcess[bytes]:
    file = folder / "message"
    file.write_bytes(message)
    command = ["openssl", "smime", "-verify", "-in", str(file), "-noverify", "-text"]
    return subprocess.run(command, capture_output=True, check=False, timeout=30)


def test_openssl_verifies_the_message_and_gives_the_text_back(pair: tuple[bytes, bytes], tmp_path: Path) -> None:
    message = signer(*pair).sign(TEXT)
    done = verified(tmp_path, message)
    assert done.returncode == 0, done.stderr
    assert done.stdout.replace(b"\r\n", b"\n") == TEXT.encode()


def test_the_message_has_the_form_that_the_receiver_insists_on(pair: tuple[bytes, bytes]) -> None:
    message = signer(*pair).sign(TEXT).replace(b"\r\n", b"\n")
    head = message.partition(b"\n\n")[0]
    assert b"multipart/signed" in head
    assert b'protocol="application/x-pkcs7-signature"' in head
    assert b'micalg="sha-256"' in head
    assert b"Content-Type: text/plain\n\nAPEL-sync-message: v0.1\n" in message
    assert b"smime.p7s" in message


def test_a_message_that_was_changed_is_not_verified(pair: tuple[bytes, bytes], tmp_path: Path) -> None:
    message = signer(*pair).sign(TEXT)
    assert verified(tmp_path, message.replace(b"NumberOfJobs: 1", b"NumberOfJobs: 9")).returncode == 4


def test_what_cannot_sign_is_told_at_once() -> None:
    one, other = made(ec.generate_private_key(ec.SECP256R1())), made(ec.generate_private_key(ec.SECP256R1()))
    old = made(ec.generate_private_key(ec.SECP256R1()), NOW - timedelta(days=1))
    for certificate, key, told in (
        (one[0], other[1], "does not belong"),
        (b"x", one[1], "certificate cannot be read"),
        (one[0], b"x", "key cannot be read"),
        (*old, "expired at"),
    ):
        with pytest.raises(SignerUnfit, match=told):
            signer(certificate, key)


def test_the_signer_says_who_and_until_when() -> None:
    found = signer(*made(ec.generate_private_key(ec.SECP256R1())))
    assert found.subject == "CN=host.example.org"
    assert found.valid_until > NOW
