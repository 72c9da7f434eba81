"""How the API server is reached: a kubeconfig file, or the service account that a pod finds in its own files.

Read: server, certificate authority, token, token file, client certificate and key, as files or inline. Not done, and
said so: exec plugins, auth providers, user name and password, proxies, impersonation, another server name.
"""

from __future__ import annotations

import base64
import binascii
import os
import ssl
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from msgspec import Struct

from jobmeter.contract import SourceUnreadable
from jobmeter.observe.host import Host

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where the kubelet puts a pod's token and the cluster's authority."""

_NOT_DONE = {
    "user": {
        "exec": "an exec plugin",
        "auth-provider": "an auth provider",
        "username": "user name and password",
        "password": "user name and password",
        "as": "impersonation",
        "as-groups": "impersonation",
        "as-uid": "impersonation",
        "as-user-extra": "impersonation",
    },
    "cluster": {"proxy-url": "a proxy", "tls-server-name": "another server name"},
}
_ADVICE = "give a token, a token file or a client certificate; a token of a service account serves best"


class Access(Struct, frozen=True):
    """The API server's address, how to trust it, and who we are. `token` is asked anew for every request."""

    address: str
    tls: ssl.SSLContext | None
    token: Callable[[], str | None]
    told: str

    def headers(self) -> Mapping[str, str]:
        """What a request must carry."""
        token = self.token()
        return {} if token is None else {"Authorization": f"Bearer {token}"}


def find_access(kubeconfig: str | None, context: str | None, host: Host) -> Access:
    """The way to the API server by the settings, else $KUBECONFIG, else ~/.kube/config, else the service account.

    Raises SourceUnreadable: files may come later, or be mended.
    """
    named = kubeconfig or host.environment.get("KUBECONFIG", "")
    if kubeconfig is None and os.pathsep in named:
        raise SourceUnreadable("KUBECONFIG names several files, which are not merged here; name one as `kubeconfig`")
    if named:
        return _by_file(host.path(Path(named)), context)
    home = host.environment.get("HOME", "")
    usual = host.path(Path(home) / ".kube" / "config") if home else None
    if usual is not None and usual.is_file():
        return _by_file(usual, context)
    return _by_account(host)


def _by_account(host: Host) -> Access:
    address, port = (host.environment.get(f"KUBERNETES_SERVICE_{part}", "") for part in ("HOST", "PORT"))
    folder = host.path(ACCOUNT)
    if not (address and port and (folder / "token").exists()):
        raise SourceUnreadable(
            "there is no kubeconfig (set `kubeconfig` or $KUBECONFIG), and this is no pod with a service account"
        )
    tls = _context(authority=_text(folder / "ca.crt"))
    written = f"[{address}]" if ":" in address else address
    return Access(f"https://{written}:{port}", tls, lambda: _token_in(folder / "token"), "service account")


def _by_file(file: Path, context: str | None) -> Access:
    try:
        config = yaml.safe_load(_text(file))
    except yaml.YAMLError as fault:
        raise SourceUnreadable(f"{file} is no YAML: {' '.join(str(fault).split())}") from None
    if not isinstance(config, dict):
        raise SourceUnreadable(f"{file} is no kubeconfig")
    name = context or _word(config, "current-context")
    if not name:
        raise SourceUnreadable(f"{file} has no current-context; name one as `context`")
    chosen = _named(config, "contexts", "context", name, file)
    cluster = _named(config, "clusters", "cluster", _word(chosen, "cluster"), file)
    user = _named(config, "users", "user", _word(chosen, "user"), file) if _word(chosen, "user") else {}
    for kind, part in (("user", user), ("cluster", cluster)):
        for key, meaning in _NOT_DONE[kind].items():
            if part.get(key):
                raise SourceUnreadable(f"{file}: the {kind} needs {meaning} ({key}), which is not done here; {_ADVICE}")
    address = _word(cluster, "server")
    if not address.startswith(("http://", "https://")):
        raise SourceUnreadable(f"{file}: the server {address!r} is no http:// or https:// address")
    tls = _tls(cluster, user, file) if address.startswith("https://") else None
    return Access(address.rstrip("/"), tls, _token_of(user, file), f"{file} context {name}")


def _tls(cluster: Mapping[str, Any], user: Mapping[str, Any], file: Path) -> ssl.SSLContext:
    authority = _material(cluster, "certificate-authority", file)
    certificate = _material(user, "client-certificate", file)
    key = _material(user, "client-key", file)
    if (certificate is None) != (key is None):
        raise SourceUnreadable(f"{file}: client-certificate and client-key go together")
    unchecked = cluster.get("insecure-skip-tls-verify") is True
    return _context(authority=authority, certificate=certificate, key=key, unchecked=unchecked)


def _context(
    *, authority: str | None, certificate: str | None = None, key: str | None = None, unchecked: bool = False
) -> ssl.SSLContext:
    try:
        # With an authority of the cluster's own, those of the system are not trusted beside it.
        context = ssl.create_default_context(cadata=authority)
        # From Python 3.13 on certificates must keep to RFC 5280 to the letter; those of many clusters do not.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if unchecked:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if certificate is not None and key is not None:
            with tempfile.TemporaryDirectory() as folder:  # readable by us only; the ssl module reads files only
                pair = (Path(folder) / "certificate", Path(folder) / "key")
                for path, text in zip(pair, (certificate, key), strict=True):
                    path.touch(0o600)
                    path.write_text(text, encoding="utf-8")
                context.load_cert_chain(*pair)
    except (OSError, ValueError) as fault:  # ssl.SSLError is an OSError
        raise SourceUnreadable(f"the certificates for the API server do not serve: {fault}") from None
    return context


def _token_of(user: Mapping[str, Any], file: Path) -> Callable[[], str | None]:
    if token_file := _word(user, "tokenFile"):
        return lambda: _token_in(file.parent / token_file)
    token = _word(user, "token") or None
    return lambda: token


def _token_in(file: Path) -> str:
    token = _text(file).strip()
    if not token or not token.isascii() or not token.isprintable():
        raise SourceUnreadable(f"{file} holds no token")
    return token


def _material(part: Mapping[str, Any], key: str, file: Path) -> str | None:
    """PEM text that stands inline (base64) or in a file, whose name is relative to the kubeconfig's folder."""
    if inline := _word(part, f"{key}-data"):
        try:
            return base64.b64decode(inline, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise SourceUnreadable(f"{file}: {key}-data is not base64 of PEM text") from None
    name = _word(part, key)
    return _text(file.parent / name) if name else None


def _named(config: Mapping[str, Any], plural: str, kind: str, name: str, file: Path) -> Mapping[str, Any]:
    entries = config.get(plural)
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and entry.get("name") == name and isinstance(entry.get(kind) or {}, dict):
            return entry.get(kind) or {}
    raise SourceUnreadable(f"{file} has no {kind} {name!r}")


def _word(part: Mapping[str, Any], key: str) -> str:
    value = part.get(key)
    return value if isinstance(value, str) else ""


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as fault:
        raise SourceUnreadable(f"{file} cannot be read: {fault.strerror}") from None
    except UnicodeDecodeError:
        raise SourceUnreadable(f"{file} is no text") from None
