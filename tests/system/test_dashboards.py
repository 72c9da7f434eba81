"""The questions of the dashboards for Prometheus, asked of a real one. Needs Debian's prometheus: no plain test."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from jobmeter.observe.host import SystemClock
from jobmeter.run.demo import load as demo_load
from tests.run.test_serve import serving

ROOT = Path(__file__).parents[2]
EMPTY_ALLOWED = frozenset({"Waiting in the spools of collectors", "Time since a collector reported"})
"""The demo has no collector; that these families are told is tested with the reconciliation."""

SETTINGS = """\
[metrics.database]
frequency = 1
metrics = ["RecordCount", "RecordCountPerSite"]
meta_key_site = "site_id"
[join]
components = ["all"]
"""

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="on Debian: apt-get install prometheus"),
]


@contextmanager
def prometheus(folder: Path, target: int) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    jobs = [{"job_name": "jobmeter", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}]
    told = {"global": {"scrape_interval": "1s"}, "scrape_configs": jobs}
    (folder / "prometheus.yml").write_text(json.dumps(told))
    words = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb"]
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen(
            ["prometheus", *words, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log
        )
    try:
        yield port
    finally:
        process.terminate()
        process.wait(30)


def ask(port: int, expression: str) -> list[Any]:
    """The result of an instant query; it must be understood."""
    query = urllib.parse.urlencode({"query": expression})
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query?{query}", timeout=10) as answer:
        told = json.load(answer)
    assert told["status"] == "success", told
    found: list[Any] = told["data"]["result"]
    return found


def expressions(board: str) -> Iterator[tuple[str, str]]:
    for panel in json.loads((ROOT / "packaging/grafana" / board).read_text())["panels"]:
        for target in panel["targets"]:
            text = target["expr"].replace("$__rate_interval", "30s")
            yield panel["title"], re.sub(r"\$\w+", ".*", text)


def test_every_panel_about_the_server_has_an_answer(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    demo_load.load(data, f"sqlite:///{data}/records.db", SystemClock().now(), lambda _: None, days=3)
    (tmp_path / "serve.toml").write_text(SETTINGS)
    words = ("serve", "serve.toml", "--port", "0", "--data", "data")
    with serving(*words, folder=tmp_path) as server, prometheus(tmp_path, server.port) as port:
        end = time.monotonic() + 40
        missing = {"all"}
        number = 0
        while missing and time.monotonic() < end:
            time.sleep(1)
            server.post(f"r{number}")
            server.get("/records?limit=1")
            number += 1
            if not _is_up(port):
                continue
            asked = [one for one in expressions("server-prometheus.json") if one[0] not in EMPTY_ALLOWED]
            missing = {title for title, text in asked if not ask(port, text)}
        assert missing == set()


def _is_up(port: int) -> bool:
    try:
        return bool(ask(port, "up == 1"))
    except OSError:
        return False


def test_prometheus_understands_every_question_about_a_job(tmp_path: Path) -> None:
    with prometheus(tmp_path, 1) as port:
        end = time.monotonic() + 30
        while True:
            try:
                ask(port, "up")
                break
            except OSError:
                assert time.monotonic() < end, (tmp_path / "prometheus.log").read_text()
                time.sleep(0.5)
        for _, text in expressions("job-prometheus.json"):
            ask(port, text)
