"""TLS of the server: a context made of the files that the settings name, anew whenever these are replaced."""

from __future__ import annotations

import ssl

from jobmeter.serve.settings import TlsConfig


class TlsUnusable(Exception):  # noqa: N818 - the name says the fact
    """The certificate, the key or the authorities cannot be used; the message names the file and says why."""


_VERIFY = {"required": ssl.CERT_REQUIRED, "optional": ssl.CERT_OPTIONAL, "none": ssl.CERT_NONE}


def tls_context(settings: TlsConfig) -> ssl.SSLContext:
    """TLS 1.2 or newer with the server's certificate, asking clients for theirs as told. Raises TlsUnusable."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    certificate, key = settings.server_cert_path or "", settings.server_key_path or ""
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ValueError) as fault:
        raise TlsUnusable(f"tls_config: {certificate} and {key}: {_told(fault)}") from None
    if settings.client_certificates != "none":
        try:
            context.load_verify_locations(cafile=settings.ca_cert_path)
        except (OSError, ValueError) as fault:
            raise TlsUnusable(f"tls_config.ca_cert_path: {settings.ca_cert_path}: {_told(fault)}") from None
        context.verify_mode = _VERIFY[settings.client_certificates]
    return context


def _told(fault: Exception) -> str:
    if isinstance(fault, ssl.SSLError):
        return fault.reason or str(fault)
    if isinstance(fault, OSError):
        return fault.strerror or str(fault)
    return str(fault)
