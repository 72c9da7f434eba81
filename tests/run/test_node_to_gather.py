"""The whole way: the agent of this machine measures, the gatherer prints, or the real Colmet's collector writes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.colmet.real import tables
from tests.colmet.test_interoperation import ended, ending, real_collector, written
from tests.process import PATIENCE_SECONDS, eventually, free_port
from tests.run.test_gather import FREE, ROOT, gather


@contextmanager
def node(folder: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "jobmeter", "node", "-s", "0.2", *words]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    with (folder / "node.log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, text=True, env=environment)
        with ending(process):
            yield process


def test_what_the_agent_measures_is_printed_by_the_gatherer(tmp_path: Path) -> None:
    with gather(tmp_path, "--text", *FREE) as running:
        with node(tmp_path, "--zeromq-uri", running.address("acknowledged")) as agent:
            eventually(lambda: sum("procstats_uptime_total=" in line for line in list(running.printed)) >= 3)
            agent.send_signal(signal.SIGTERM)
            assert agent.wait(PATIENCE_SECONDS) == 0, (tmp_path / "node.log").read_text()
        assert running.end() == 0


def test_the_real_collector_reads_our_agent(tmp_path: Path) -> None:
    file, port = tmp_path / "theirs.hdf5", free_port()
    collector = real_collector(tmp_path, port, file)
    with ending(collector):
        with node(tmp_path, "--as-colmet", "--zeromq-uri", f"tcp://127.0.0.1:{port}") as agent:
            # The messages of a turn may come in two parts.
            eventually(lambda: len(written(tmp_path)) >= 8, "rows are written")
            agent.send_signal(signal.SIGTERM)
            assert agent.wait(PATIENCE_SECONDS) == 0, (tmp_path / "node.log").read_text()
        before = -1
        while before != (before := len(written(tmp_path))):  # a signal while it writes would end it badly
            time.sleep(1)
        assert ended(collector) == 0, (tmp_path / "colmet-collector.log").read_text()
    rows = tables(file)["/job_0/procstats_default"]["rows"]
    assert len(rows) >= 3
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    for row in rows:
        assert 0 < uptime - row["uptime_total"] < 600
        assert row["meminfo_memtotal"] > 100_000
        assert row["stat_cpu_user"] > 0
