"""Build the real Kubernetes API server from Debian 12's source package, once per machine.

The package carries its whole vendored tree, so only the Debian mirror and a Go of its own age are needed; the binary is
kept in `.cache/k8s/bin`, which the repository ignores. By hand: `python -m tests.system.kubernetes_build` (root, about
five minutes on two cores).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.system.debian import install, mirror

VERSION = "1.20.5+really1.20.2-1.1+deb12u1"
TREE = "kubernetes-1.20.2"
CACHE = Path(__file__).resolve().parents[2] / ".cache" / "k8s"
# Debian's own Go first: the tree is of 2021 and a Go of today refuses its linker tricks.
PATH = "/usr/lib/go-1.19/bin:" + os.environ.get("PATH", "/usr/bin:/bin")
VERSION_FILE = """KUBE_GIT_COMMIT='debian'
KUBE_GIT_TREE_STATE='archive'
KUBE_GIT_VERSION='v1.20.2'
KUBE_GIT_MAJOR='1'
KUBE_GIT_MINOR='20'
"""


def api_server(cache: Path = CACHE) -> Path | None:
    """The built API server, or None when it has not been built on this machine."""
    binary = cache / "bin" / "kube-apiserver"
    return binary if os.access(binary, os.X_OK) else None


def _fetch_source(source: Path) -> None:
    """Download and unpack the source package with an apt state of its own: the machine's sources stay as they are."""
    apt = source / "apt"
    for folder in ("etc", "state/lists/partial", "cache/archives/partial"):
        (apt / folder).mkdir(parents=True, exist_ok=True)
    signed = "/usr/share/keyrings/debian-archive-keyring.gpg"
    (apt / "etc/sources.list").write_text(f"deb-src [signed-by={signed}] {mirror()} bookworm main\n", encoding="utf-8")
    options = {
        "Dir::Etc": apt / "etc",
        "Dir::Etc::sourcelist": apt / "etc/sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State": apt / "state",
        "Dir::Cache": apt / "cache",
        "Dir::State::status": "/dev/null",
        "APT::Sandbox::User": "root",
    }
    apt_get = ["apt-get", "-qq", *(f"-o={key}={value}" for key, value in options.items())]
    subprocess.run([*apt_get, "update"], check=True)
    subprocess.run([*apt_get, "source", "-d", f"kubernetes={VERSION}"], check=True, cwd=source)
    (archive,) = source.glob("kubernetes_*.orig.tar.gz")
    subprocess.run(["tar", "xf", archive.name], check=True, cwd=source)


def build(cache: Path = CACHE) -> Path:
    """The API server's binary, built now if it is not there. Raises Unavailable or CalledProcessError."""
    if (built := api_server(cache)) is not None:
        return built
    source = cache / "src"
    (cache / "bin").mkdir(parents=True, exist_ok=True)
    source.mkdir(parents=True, exist_ok=True)
    install(("golang-1.19-go", "make", "rsync"), ("/usr/lib/go-1.19/bin/go", "make", "rsync"))
    tree = source / TREE
    if not tree.is_dir():
        _fetch_source(source)
    (tree / ".go/src/k8s.io").mkdir(parents=True, exist_ok=True)
    package = tree / ".go/src/k8s.io/kubernetes"
    if not package.is_symlink():
        package.symlink_to("../../..")
    (source / "version").write_text(VERSION_FILE, encoding="utf-8")
    (source / "home").mkdir(exist_ok=True)
    environment = {
        **os.environ,
        "PATH": PATH,
        "GOPATH": str(tree / ".go"),
        "CGO_ENABLED": "0",
        "GOFLAGS": "",
        "GOTOOLCHAIN": "local",
        "HOME": str(source / "home"),
        "GOCACHE": str(source / "gocache"),
        "KUBE_GIT_VERSION_FILE": str(source / "version"),
    }
    with (cache / "build.log").open("w", encoding="utf-8") as log:
        command = ["nice", "make", "WHAT=cmd/kube-apiserver"]
        subprocess.run(command, check=True, cwd=tree, env=environment, stdout=log, stderr=subprocess.STDOUT)
    shutil.copy2(tree / "_output/local/bin/linux/amd64/kube-apiserver", cache / "bin/kube-apiserver")
    shutil.rmtree(source)
    return cache / "bin" / "kube-apiserver"


if __name__ == "__main__":
    sys.stdout.write(f"{build()}\n")
