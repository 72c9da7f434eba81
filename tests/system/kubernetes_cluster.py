"""A real Kubernetes API server with etcd on loopback, client certificates and RBAC; no node.

Pods are made through the API and ended by writing their status, as the kubelet would. Everything that is started is
stopped by its process id; nothing outside the folder is written.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import ssl
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.process import free_port, wait_until
from tests.system.daemons import Daemons
from tests.system.debian import Unavailable, install
from tests.system.kubernetes_build import api_server, build

BUILD_ASKED = "JOBMETER_BUILD_KUBERNETES"
"""The environment variable that asks for the API server to be built when it is not there."""
RBAC = "/apis/rbac.authorization.k8s.io/v1"
COLLECTOR = "collector"
"""A user who may list and watch pods, and list events, in the namespaces that say so (`allow`)."""


def install_kubernetes() -> Path:
    """The API server's binary, with etcd and openssl beside it. Raises Unavailable."""
    binary = api_server()
    if binary is None and not os.environ.get(BUILD_ASKED):
        raise Unavailable(
            f"kube-apiserver is not built; {BUILD_ASKED}=1 or `python -m tests.system.kubernetes_build` does it"
        )
    install(("etcd-server", "openssl"), ("etcd", "openssl"))
    return binary or build()


class KubernetesCluster:
    """One API server with its database. `start` brings it up, `stop` ends both."""

    def __init__(self, binary: Path) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="jobmeter-kubernetes-"))
        self._binary = binary
        self._etcd_port, self._peer_port, self.port = free_port(), free_port(), free_port()
        self._daemons = Daemons(self.folder)
        self._server: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._make_keys()
        etcd, peer = f"http://127.0.0.1:{self._etcd_port}", f"http://127.0.0.1:{self._peer_port}"
        self._daemons.start(
            "etcd", "etcd", f"--data-dir={self.folder / 'etcd'}", f"--listen-client-urls={etcd}",
            f"--advertise-client-urls={etcd}", f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}", "--unsafe-no-fsync",
        )  # fmt: skip
        self.start_server()
        self.add_user(COLLECTOR)
        self.kubeconfig(COLLECTOR)
        rules = [
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]},
            {"apiGroups": [""], "resources": ["events"], "verbs": ["list"]},
        ]
        self.call("POST", f"{RBAC}/clusterroles", {"metadata": {"name": "pods"}, "rules": rules})

    def start_server(self) -> None:
        keys = self.folder
        self._server = self._daemons.start(
            "apiserver", str(self._binary), f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self.port}", "--advertise-address=127.0.0.1", f"--tls-cert-file={keys / 'server.crt'}",
            f"--tls-private-key-file={keys / 'server.key'}", f"--client-ca-file={keys / 'ca.crt'}",
            f"--service-account-key-file={keys / 'sa.pub'}", f"--service-account-signing-key-file={keys / 'sa.key'}",
            f"--service-account-issuer=https://127.0.0.1:{self.port}", "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.250.0.0/24", "--disable-admission-plugins=ServiceAccount",
        )  # fmt: skip
        wait_until(self._is_ready, "the API server is ready", 120)

    def stop_server(self) -> None:
        assert self._server is not None
        self._daemons.end(self._server)

    def compact(self) -> None:
        """Forget all versions before the present one, as the API server asks of etcd every five minutes."""
        present = int(self.call("GET", "/api/v1/pods")["metadata"]["resourceVersion"])
        connection = http.client.HTTPConnection("127.0.0.1", self._etcd_port, timeout=20)
        connection.request("POST", "/v3/kv/compaction", json.dumps({"revision": present, "physical": True}))
        assert connection.getresponse().read() is not None
        connection.close()

    def stop(self) -> None:
        self._daemons.end_all()
        shutil.rmtree(self.folder, ignore_errors=True)

    def kubeconfig(self, user: str = "admin") -> Path:
        """A kubeconfig file of a user that was made by `add_user`."""
        file = self.folder / f"{user}.kubeconfig"
        cluster = {"server": f"https://127.0.0.1:{self.port}", "certificate-authority": "ca.crt"}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "t", "user": "u"}}],
            "clusters": [{"name": "t", "cluster": cluster}],
            "users": [{"name": "u", "user": {"client-certificate": f"{user}.crt", "client-key": f"{user}.key"}}],
        }
        file.write_text(json.dumps(config))  # JSON is YAML, too
        return file

    def add_user(self, name: str, subject: str | None = None) -> None:
        """A client certificate for a user."""
        self._sign(name, subject or f"/CN={name}", "extendedKeyUsage=clientAuth")

    def allow(self, namespace: str) -> None:
        """Let the collector read the pods of a namespace."""
        group = "rbac.authorization.k8s.io"
        role = {
            "metadata": {"name": COLLECTOR},
            "roleRef": {"kind": "ClusterRole", "name": "pods", "apiGroup": group},
            "subjects": [{"kind": "User", "name": COLLECTOR, "apiGroup": group}],
        }
        self.call("POST", f"{RBAC}/namespaces/{namespace}/rolebindings", role)

    def call(self, method: str, path: str, body: Any = None, *, kind: str = "application/json") -> Any:
        """One request of the administrator's; its answer. Raises RuntimeError on a status from 400 on."""
        context = ssl.create_default_context(cafile=str(self.folder / "ca.crt"))
        context.load_cert_chain(self.folder / "admin.crt", self.folder / "admin.key")
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=30)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), {"Content-Type": kind})
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status} {text[:500]!r}")
        return json.loads(text) if text[:1] in b"{[" else text

    def _is_ready(self) -> bool:
        assert self._server is not None
        if self._server.poll() is not None:
            raise RuntimeError(self._daemons.log_of("apiserver").read_text("utf-8", "replace")[-2000:])
        try:
            return bool(self.call("GET", "/readyz") == b"ok")
        except (OSError, RuntimeError, http.client.HTTPException):
            return False

    def _make_keys(self) -> None:
        self._openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", "ca.key", "-out",
                      "ca.crt", "-subj", "/CN=test-ca")  # fmt: skip
        self._openssl("genrsa", "-out", "sa.key", "2048")
        self._openssl("rsa", "-in", "sa.key", "-pubout", "-out", "sa.pub")
        self._sign("server", "/CN=kube-apiserver", "subjectAltName=IP:127.0.0.1,IP:10.250.0.1,DNS:localhost")
        self.add_user("admin", "/O=system:masters/CN=admin")

    def _sign(self, name: str, subject: str, extension: str) -> None:
        (self.folder / f"{name}.ext").write_text(extension + "\n")
        self._openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj",
                      subject)  # fmt: skip
        self._openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
                      "-days", "2", "-out", f"{name}.crt", "-extfile", f"{name}.ext")  # fmt: skip

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)
