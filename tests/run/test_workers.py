"""Several workers behind one port, on a real PostgreSQL."""

from __future__ import annotations

import http.client
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from tests.clients.server import LiveServer, live
from tests.process import PATIENCE_SECONDS, eventually
from tests.run.killing import kill_again_and_again

WORKERS = 3


@pytest.fixture
def server(postgresql_url: str, tmp_path: Path) -> Iterator[LiveServer]:
    with live(tmp_path, ["--database", postgresql_url, "--workers", str(WORKERS)]) as running:
        yield running


def processes(server: LiveServer) -> tuple[psutil.Process, list[psutil.Process]]:
    """The watching process and its workers."""
    assert server._process is not None
    watching = psutil.Process(server._process.pid)
    return watching, watching.children()


def post(server: LiveServer, name: str) -> int:
    with closing(http.client.HTTPConnection(server.address, server.port, timeout=PATIENCE_SECONDS)) as connection:
        body = f'{{"record_id": "{name}", "components": [], "start_time": "2024-01-01T00:00:00Z"}}'
        connection.request("POST", "/record", body, {"content-type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        return answer.status


def metric(server: LiveServer, name: str) -> float:
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=PATIENCE_SECONDS) as answer:
        lines: list[str] = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} "))


def test_all_serve_and_any_of_them_tells_what_all_have_counted(server: LiveServer) -> None:
    _, workers = processes(server)
    assert len(workers) == WORKERS
    assert {post(server, f"r{number}") for number in range(60)} == {200}
    for _ in range(5):
        assert metric(server, 'jobmeter_records_total{outcome="new"}') == 60
    assert len(server.records()) == 60


def test_a_worker_that_dies_is_replaced_and_the_others_go_on(server: LiveServer) -> None:
    _, workers = processes(server)
    workers[0].send_signal(signal.SIGKILL)
    eventually(lambda: not workers[0].is_running())
    for number in range(20):
        assert post(server, f"r{number}") == 200
    eventually(lambda: len(processes(server)[1]) == WORKERS)


def test_nothing_acknowledged_is_lost_when_workers_are_killed_under_load(server: LiveServer) -> None:
    # Each connection that writes now is held by one of these.
    _, workers = processes(server)
    load = kill_again_and_again(server, WORKERS, lambda: workers.pop().send_signal(signal.SIGKILL), lambda: None)
    assert load.failures > 0


def test_a_stop_ends_all_in_order(server: LiveServer) -> None:
    _, workers = processes(server)
    assert post(server, "r") == 200
    assert server.stop() == 0
    assert not [worker for worker in workers if worker.is_running()]


def test_without_the_watching_process_no_worker_stays(server: LiveServer) -> None:
    _, workers = processes(server)
    server.stop(signal.SIGKILL)
    eventually(lambda: not any(worker.is_running() for worker in workers))


def test_on_sqlite_one_process_serves_and_says_so(tmp_path: Path) -> None:
    with live(tmp_path, ["--workers", "2"]) as server:
        assert processes(server)[1] == []
        assert "serve.one_worker" in (tmp_path / "server.out").read_text()
        assert post(server, "r") == 200


_FAILING = """
import sys, os
from jobmeter.run.server.workers import Workers
def work(ready):
    try:
        os.mkdir(sys.argv[1])
    except FileExistsError:
        return 7
    ready()
    return 7
sys.exit(Workers(2, work, lambda: print("ready"), print).run())
"""


_SIGNALLED = """
import os, signal, sys, time
from jobmeter.run.server.workers import Workers
fork, forks = os.fork, []
def signalled():
    # A signal comes to both while neither has done anything since the fork.
    pid = fork()
    forks.append(pid)
    if len(forks) == 2:
        os.kill(os.getpid(), signal.SIGTERM)
    return pid
os.fork = signalled
def work(ready):
    ready()
    time.sleep(600)
    return 7
sys.exit(Workers(3, work, lambda: print("ready"), lambda pid: print("gone", flush=True)).run())
"""


def test_a_stop_that_comes_while_a_worker_is_made_reaches_it_too() -> None:
    words = [sys.executable, "-c", _SIGNALLED]
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["gone"] * 2, "no third was made"


def test_workers_that_cannot_start_end_it(tmp_path: Path) -> None:
    """Only one of the two becomes ready."""
    words = [sys.executable, "-c", _FAILING, str(tmp_path / "first")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    assert done.returncode == 1
    assert "ready" not in done.stdout
    assert len(done.stdout.split()) == 2
