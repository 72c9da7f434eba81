"""Pods of every ending on a real API server, collected by the real command into a real server."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobmeter.deliver.settings import SpoolSettings
from jobmeter.deliver.spool import Spool
from jobmeter.observe.host import SystemClock
from tests.process import free_port, wait_until
from tests.run.test_serve import Serving, serving
from tests.system.kubernetes_cluster import RBAC, KubernetesCluster

pytestmark = pytest.mark.system

SRC = Path(__file__).parents[2] / "src"
MANIFEST = SRC.parent / "packaging" / "kubernetes" / "collector.yaml"
UGLY = 'a|b \'c\' "d" \\ e\nsecond line, § ünï € <x> {"user": "root"}'
CORES, MEMORY_BYTES = 2, 512 * 2**20


@pytest.fixture
def cluster(kubernetes: KubernetesCluster) -> KubernetesCluster:
    return kubernetes


class Namespace:
    """A namespace with pods that this test makes, and what must be stored of them."""

    def __init__(self, cluster: KubernetesCluster, name: str, *, is_allowed: bool = True) -> None:
        self.name = name
        self.expected: dict[str, dict[str, Any]] = {}
        self._cluster = cluster
        cluster.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        if is_allowed:
            cluster.allow(name)

    def path(self, pod: str = "", part: str = "") -> str:
        return "/".join(word for word in (f"/api/v1/namespaces/{self.name}/pods", pod, part) if word)

    def make(self, name: str, containers: int = 1, **metadata: Any) -> dict[str, Any]:
        limits = {"cpu": f"{CORES}", "memory": "512Mi"}
        metadata = {"name": name, "annotations": {"user": UGLY}, **metadata}
        spec = {
            "nodeName": "node-1",
            "restartPolicy": "Never",
            "containers": [
                {"name": f"c{number}", "image": "none", "resources": {"limits": limits, "requests": {"cpu": "100m"}}}
                for number in range(containers)
            ],
        }
        made: dict[str, Any] = self._cluster.call("POST", self.path(), {"metadata": metadata, "spec": spec})
        return made

    def write(self, pod: dict[str, Any], phase: str, states: list[dict[str, Any]], **status: Any) -> dict[str, Any]:
        """The status that a kubelet would write."""
        names = [container["name"] for container in pod["spec"]["containers"]]
        pod["status"] = {**pod["status"], "phase": phase, **status}
        pod["status"]["containerStatuses"] = [
            {"name": name, "image": "none", "imageID": "", "ready": False, "restartCount": 0, "state": state}
            for name, state in zip(names, states, strict=False)
        ]
        written: dict[str, Any] = self._cluster.call("PUT", self.path(pod["metadata"]["name"], "status"), pod)
        return written

    def run(self, name: str, seconds: int = 0, containers: int = 1, **metadata: Any) -> dict[str, Any]:
        """A pod that has been running for some seconds."""
        pod = self.make(name, containers, **metadata)
        start = now(-seconds)
        return self.write(pod, "Running", [{"running": {"startedAt": start}}] * containers, startTime=start)

    def end(self, pod: dict[str, Any], phase: str = "Succeeded", ended: str = "Completed", **status: Any) -> None:
        """The pod ends now, and its record is expected."""
        start, stop = pod["status"]["startTime"], now()
        state = {"terminated": {"exitCode": 0, "reason": ended, "startedAt": start, "finishedAt": stop}}
        count = len(pod["spec"]["containers"])
        self.write(pod, phase, [state] * count, **status)
        self.expect(pod, phase, str(status.get("reason", ended)), stop)

    def expect(self, pod: dict[str, Any], phase: str, reason: str, stop: str | None) -> None:
        metadata = pod["metadata"]
        self.expected[f"k-{self.name}-{metadata['name']}-{metadata['uid']}"] = {
            "name": metadata["name"],
            "status": phase,
            "reason": reason,
            "start": pod["status"]["startTime"],
            "stop": stop,
            "containers": len(pod["spec"]["containers"]),
            "owner": metadata.get("ownerReferences", [{"name": None}])[0]["name"],
        }

    def tell_start(self, pod: dict[str, Any]) -> None:
        """The event that a kubelet would write."""
        named = {key: pod["metadata"][key] for key in ("namespace", "name", "uid")}
        event = {
            "metadata": {"generateName": "started-"},
            "involvedObject": {"kind": "Pod", "apiVersion": "v1", **named},
            "reason": "Started",
            "type": "Normal",
            "firstTimestamp": now(),
            "lastTimestamp": now(),
            "count": 1,
        }
        self._cluster.call("POST", f"/api/v1/namespaces/{self.name}/events", event)

    def delete(self, name: str) -> None:
        self._cluster.call("DELETE", self.path(name), {"gracePeriodSeconds": 0})

    def short(self, name: str) -> None:
        """A pod that is made, runs, ends and is deleted, all at once."""
        self.end(self.run(name, 5))
        self.delete(name)


def now(seconds: float = 0) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def configuration(cluster: KubernetesCluster, folder: Path, port: int, *namespaces: str, **more: Any) -> Path:
    options = {
        "auditor_addr": "127.0.0.1",
        "auditor_port": port,
        "record_prefix": "k",
        "database_path": str(folder),
        "kubeconfig": str(cluster.folder / "collector.kubeconfig"),
        "collect_interval": 1,
        "settle_seconds": 1,
        "earliest_datetime": "2020-01-01T00:00:00Z",
        "job_filter": {"namespace": list(namespaces)},
        "meta": [{"name": "user_id", "annotation": "user"}, {"name": "site_id", "value": "here"}],
        **more,
    }
    path = folder / "config.yml"
    path.write_text(json.dumps(options))
    return path


def command(config: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "jobmeter", "collect", "kubernetes", str(config), *options]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(SRC), "TZ": "Asia/Kolkata"}


def collect(config: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(config, *options), env=environment(), capture_output=True, text=True, timeout=120, check=False
    )


@contextlib.contextmanager
def collecting(config: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as stream:
        process = subprocess.Popen(command(config), env=environment(), stdout=stream, stderr=stream)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def started(folder: Path) -> bool:
    """Whether the daemon has stored where it goes on after a list."""
    spool = folder / "mqueue.db.spool"
    if not spool.exists():
        return False
    with contextlib.closing(sqlite3.connect(f"file:{spool}?mode=ro", uri=True)) as db:
        return any('"version":"' in str(row[0]) for row in db.execute("SELECT cursor FROM cursors"))


def stored(server: Serving) -> dict[str, dict[str, Any]]:
    return {record["record_id"]: record for record in map(json.loads, server.get("/records").splitlines())}


def check(found: dict[str, dict[str, Any]], *namespaces: Namespace) -> None:
    """The server holds what is expected, pod by pod, and nothing else."""
    expected = {name: each for namespace in namespaces for name, each in namespace.expected.items()}
    assert sorted(found) == sorted(expected)
    for name, each in expected.items():
        record = found[name]
        meta = {key: values[0] for key, values in record["meta"].items()}
        assert (meta["podname"], meta["status"], meta["reason"]) == (each["name"], each["status"], each["reason"])
        assert (meta["user_id"], meta.get("owner_name"), meta["site_id"]) == (UGLY, each["owner"], "here")
        assert record["start_time"] == each["start"]
        if each["stop"] is not None:
            assert record["stop_time"] == each["stop"]
        amounts = {component["name"]: component["amount"] for component in record["components"]}
        assert amounts["memory_limit"] == MEMORY_BYTES * each["containers"]
        assert amounts["cpu_limit"] == 1000 * CORES * each["containers"]
        assert amounts["cpu_request"] == 100 * each["containers"]
        assert abs(amounts["naive_cpu_time"] - record["runtime"] * CORES * each["containers"]) <= CORES


def test_pods_of_every_ending_are_stored_exactly_as_they_ended(cluster: KubernetesCluster, tmp_path: Path) -> None:
    one, two = Namespace(cluster, "endings-one"), Namespace(cluster, "endings-two")
    Namespace(cluster, "endings-denied", is_allowed=False)
    one.end(one.run("before", 100))
    log = tmp_path / "log"
    with serving("serve", "--port", "0", folder=tmp_path) as server:
        config = configuration(cluster, tmp_path, server.port, one.name, two.name, "endings-denied")
        with collecting(config, log) as process:
            wait_until(lambda: len(stored(server)) == 1, "what had ended before is stored")
            one.end(one.run("succeeded", 30))
            one.end(one.run("failed", 20), "Failed", "Error")
            one.end(one.run("oom", 10), "Failed", "OOMKilled")
            one.end(one.run("many", 12, containers=3))
            one.end(one.run("deadline", 15), "Failed", "Error", reason="DeadlineExceeded")
            owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "j1", "uid": "u", "controller": True}
            two.end(two.run("owned", 7, ownerReferences=[owner]))
            for number in range(20):
                two.short(f"short-{number}")
            evicted = two.run("evicted", 60)
            two.write(evicted, "Failed", [], reason="Evicted", message="The node was low on resource: memory.")
            two.expect(evicted, "Failed", "Evicted", None)
            killed = one.run("killed", 60)
            one.delete("killed")
            one.expect(killed, "Running", "Deleted", None)
            one.make("pending")
            one.make("never")
            one.delete("never")
            one.run("runs-on", 5)
            wait_until(lambda: len(stored(server)) >= len(one.expected) + len(two.expected), "all are stored", 60)
            time.sleep(2)
            check(stored(server), one, two)
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        said = log.read_text()
        assert said.count("kubernetes.denied namespace=endings-denied") == 1
        assert "Traceback" not in said
        letters = json.loads(server.get("/v2/dead-letters?limit=10"))
        assert not (letters if isinstance(letters, list) else next(iter(letters.values())))
        # Once more by hand, then all of it again: nothing is doubled and nothing conflicts.
        by_hand = collect(config, "--once").stderr
        assert "queued=0" in by_hand
        assert "refused=0 waiting=0" in by_hand
        again = collect(config, "--since", "2020-01-01")
        assert again.returncode == 0, again.stderr
        check(stored(server), one, two)


def test_the_manifest_is_taken_and_gives_the_rights_that_are_needed(cluster: KubernetesCluster, tmp_path: Path) -> None:
    here = Namespace(cluster, "manifest", is_allowed=False)
    here.end(here.run("one", 5))
    paths = {"v1": "/api/v1", "apps/v1": "/apis/apps/v1", "rbac.authorization.k8s.io/v1": RBAC}
    for item in yaml.safe_load_all(MANIFEST.read_text()):
        space = item["metadata"].get("namespace")
        folder = f"{paths[item['apiVersion']]}/" + (f"namespaces/{space}/" if space else "")
        cluster.call("POST", f"{folder}{item['kind'].lower()}s", item)
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    answer = cluster.call("POST", "/api/v1/namespaces/jobmeter/serviceaccounts/collector/token", asked)
    config = configuration(cluster, tmp_path, free_port(), "*")
    options = json.loads(config.read_text())
    kubeconfig = json.loads(Path(options["kubeconfig"]).read_text())
    kubeconfig["users"][0]["user"] = {"token": answer["status"]["token"]}
    kubeconfig["clusters"][0]["cluster"]["certificate-authority"] = str(cluster.folder / "ca.crt")
    options["kubeconfig"] = str(tmp_path / "kubeconfig")
    (tmp_path / "kubeconfig").write_text(json.dumps(kubeconfig))
    config.write_text(json.dumps(options))
    printed = [json.loads(line)["record_id"] for line in collect(config, "--dry-run").stdout.splitlines()]
    assert set(here.expected) <= set(printed)


def test_a_dry_run_prints_and_remembers_nothing(cluster: KubernetesCluster, tmp_path: Path) -> None:
    here = Namespace(cluster, "dry")
    here.end(here.run("one", 5))
    config = configuration(cluster, tmp_path, free_port(), "dry")
    for _ in range(2):
        done = collect(config, "--dry-run")
        assert [json.loads(line)["record_id"] for line in done.stdout.splitlines()] == list(here.expected)
    assert not list(tmp_path.glob("*.spool*"))


def test_killed_at_any_time_two_collectors_lose_and_double_nothing(cluster: KubernetesCluster, tmp_path: Path) -> None:
    here = Namespace(cluster, "killed")
    log = tmp_path / "log"
    with serving("serve", "--port", "0", folder=tmp_path) as server:
        config = configuration(cluster, tmp_path, server.port, "killed")
        with collecting(config, log), collecting(config, tmp_path / "second"):
            wait_until(lambda: started(tmp_path), "the first round has begun")
        for attempt in range(6):
            with collecting(config, log), collecting(config, tmp_path / "second"):
                runs = here.run(f"runs-{attempt}", 3)
                for number in range(5):
                    here.short(f"short-{attempt}-{number}")
                time.sleep(0.3 * attempt)
                here.delete(f"runs-{attempt}")  # sometimes heard of, sometimes only to be missed
                here.expect(runs, "Running", "Deleted", None)
            here.short(f"meanwhile-{attempt}")
        with collecting(config, log):
            wait_until(lambda: len(stored(server)) >= len(here.expected), "all are stored", 60)
            time.sleep(2)
        check(stored(server), here)


def test_api_server_away_versions_forgotten_and_server_away_lose_nothing(
    cluster: KubernetesCluster, tmp_path: Path
) -> None:
    here = Namespace(cluster, "away")
    log, port = tmp_path / "log", free_port()
    config = configuration(cluster, tmp_path, port, "away")
    with collecting(config, log):  # the record server is not there yet
        wait_until(lambda: started(tmp_path), "the first round has begun")
        here.short("server-away")
        vanishes = here.run("vanishes", 30)
        wait_until(lambda: b"queued=1" in log.read_bytes(), "the end is in the spool")
        time.sleep(12)  # the cursor with the running pod is stored every ten seconds
        cluster.stop_server()
        time.sleep(1)
        cluster.start_server()
        here.end(here.run("after-restart", 3))
    here.delete("vanishes")
    here.expect(vanishes, "Running", "Deleted", None)
    here.end(here.run("while-stopped", 3))
    unheard = here.run("unheard-of")
    here.tell_start(unheard)
    here.delete("unheard-of")
    cluster.compact()
    cluster.stop_server()  # its cache would still know the versions
    cluster.start_server()
    with serving("serve", "--port", str(port), folder=tmp_path) as server, collecting(config, log):
        wait_until(lambda: len(stored(server)) >= len(here.expected), "all are stored", 90)
        time.sleep(2)
        check(stored(server), here)
        found = next(record for record in stored(server).values() if record["meta"]["podname"] == ["vanishes"])
        assert found["meta"]["stop_time_from"] == ["last_seen"]
    assert b"kubernetes.listing_again" in log.read_bytes()
    assert b"kubernetes.missed namespace=away pods=1" in log.read_bytes()
    with Spool(tmp_path / "mqueue.db.spool", SpoolSettings(), SystemClock()) as spool:
        (letter,) = spool.letters(9)
    assert f"away/unheard-of ({unheard['metadata']['uid']}) started at" in letter.reason
    assert b"Traceback" not in log.read_bytes()
