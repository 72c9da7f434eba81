"""The whole way of a job's samples: agent, gatherer, server, as processes of their own, and a job in a real cgroup."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.observe.kernel_groups import BURN, Groups, groups
from tests.process import PATIENCE_SECONDS, eventually, free_port
from tests.run.test_gather import FREE, ROOT, Running, gather, values

__all__ = ["groups"]


class Server:
    """A server of ours that may be away."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[str] | None = None
        self.samples = folder / "samples"
        self.config = folder / "serve.toml"
        self.config.write_text(f'[samples]\npath = "{self.samples}"\n[join]\ncomponents = ["all"]\n')

    def start(self) -> None:
        words = ["serve", str(self.config), "--port", str(self.port), "--data", str(self.folder / "data")]
        self.process = _started(self.folder, "serve", *words)
        eventually(lambda: self.ask("GET", "/health_check") is not None)

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(PATIENCE_SECONDS)
            self.process = None

    def ask(self, method: str, path: str, value: object = None) -> Any:
        """The answer's JSON; None where there is no good answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
        with closing(connection):
            try:
                body = None if value is None else json.dumps(value)
                connection.request(method, path, body, {"content-type": "application/json"})
                answer = connection.getresponse()
                content = answer.read()
            except OSError:
                return None
            return json.loads(content or b"{}") if answer.status == 200 else None

    def components(self, record_id: str) -> Mapping[str, int]:
        record = self.ask("GET", f"/record/{record_id}") or {"components": []}
        return {one["name"]: one["amount"] for one in record["components"]}


def _started(folder: Path, name: str, *words: str) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    with (folder / f"{name}.log").open("a") as log:
        command = [sys.executable, "-m", "jobmeter", *words]
        return subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, text=True, env=environment)


@contextmanager
def node(folder: Path, config: Path) -> Iterator[subprocess.Popen[str]]:
    process = _started(folder, "node", "node", str(config))
    try:
        eventually(lambda: "node.started" in (folder / "node.log").read_text())
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path)
    yield made
    made.stop(signal.SIGKILL)


@pytest.fixture
def gather_config(tmp_path: Path, server: Server) -> Path:
    file = tmp_path / "gather.toml"
    file.write_text(
        f'flush_seconds = 0.3\n[outputs.text]\npath = "{tmp_path}/text"\n[samples]\npath = "{server.samples}"\n'
        f'[summaries]\naddress = "http://127.0.0.1:{server.port}"\nflush_seconds = 0.3\n'
    )
    return file


def node_config(folder: Path, groups: Groups, gatherer: str) -> Path:
    file = folder / "node.toml"
    file.write_text(
        f"sample_period_seconds = 0.2\nceiling_percent = 100\n[sending]\n"
        f'gatherers = ["{gatherer}"]\nspool = "{folder}/node-spool"\n'
        f'[[jobs.folder]]\npath = "{groups.root}"\npattern = "^job_([0-9]+)$"\nmanager = "oar"\n'
        "[sources.procstats]\nenabled = false\n"
    )
    return file


def summaries(server: Server, number: int) -> list[dict[str, Any]]:
    answer = server.ask("GET", f"/v2/summaries?manager=oar&job={number}")
    return [] if answer is None else list(answer["summaries"])


def cpu_seconds(summary: dict[str, Any]) -> float:
    (cpu,) = [one for one in summary["metrics"] if one["name"] == "cgroup_cpu_usage"]
    return float(cpu["total"]) / 1e9


def test_a_jobs_summary_and_samples_reach_the_server_though_everything_is_killed_on_the_way(
    tmp_path: Path, groups: Groups, server: Server, gather_config: Path
) -> None:
    """The server is away while the job runs; the gatherer is killed while it runs, and again after its end."""
    with gather(tmp_path, str(gather_config), *FREE) as first:
        address = first.address("acknowledged")
        with node(tmp_path, node_config(tmp_path, groups, address)) as agent:
            groups.make("job_7")
            job = groups.start("job_7", [sys.executable, "-S", "-c", BURN, "2"])
            time.sleep(1.5)
            first.process.kill()
            first.process.wait()
            with gather(tmp_path, str(gather_config), "--bind-acknowledged", address, *FREE[:2]) as second:
                assert job.wait(PATIENCE_SECONDS) == 0
                used = groups.used_ns("job_7")
                text = tmp_path / "text"
                eventually(lambda: text.exists() and used in values(text.read_text().splitlines()), "all is read")
                groups.remove("job_7")
                eventually(lambda: _said(second, "gather.summed"))
                second.process.kill()
                second.process.wait()
            server.start()
            with gather(tmp_path, str(gather_config), "--bind-acknowledged", address, *FREE[:2]) as third:
                eventually(lambda: bool(summaries(server, 7)))
                agent.send_signal(signal.SIGTERM)
                agent.wait(PATIENCE_SECONDS)
                assert third.end() == 0, "".join(third.logged)
    (summary,) = summaries(server, 7)
    assert summary["ended"]
    assert cpu_seconds(summary) == pytest.approx(used / 1e9, rel=0.02)
    series = server.ask("GET", "/v2/samples?manager=oar&job=7&metric=cgroup_cpu_usage")["series"]
    assert series, "the job's samples are in the sample store"
    start = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(summary["first_ns"] / 1e9 - 1))
    stop = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(summary["last_ns"] / 1e9 + 1))
    record = {"record_id": "oar-7", "components": [], "start_time": start, "stop_time": stop, "meta": {}}
    assert server.ask("POST", "/v2/records", [record]) == {"outcomes": [{"outcome": "new"}]}
    eventually(lambda: server.components("oar-7").get("UsedCPU") == round(cpu_seconds(summary)))
    eventually(lambda: server.components("oar-7").get("PeakMemory", 0) > 2**20)
    words = [sys.executable, "-m", "jobmeter", "samples", "oar/7", "--server", f"http://127.0.0.1:{server.port}"]
    shown = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    assert "cgroup_cpu_usage" in shown.stdout, shown.stderr


def _said(running: Running, event: str) -> bool:
    return any(re.search(event, line) for line in list(running.logged))
