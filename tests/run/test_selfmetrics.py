"""What the daemon says of itself, as a file and at an address."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from jobmeter.run.exposition import write
from tests.observe.slurm_tables import write_table
from tests.process import PATIENCE_SECONDS, eventually
from tests.run.test_collect import Server, command, configuration, environment, row, server

__all__ = ["server"]

LAST_DELIVERY = "jobmeter_collect_last_delivery_timestamp_seconds"
_LINE = re.compile(r'([a-z_]+)\{source="slurm"\} (\d+(?:\.\d+)?)')


def read(text: str) -> dict[str, float]:
    """The metrics, each of which has its help and its type."""
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            match = _LINE.fullmatch(line)
            assert match is not None, line
            assert f"# HELP {match[1]} " in text
            assert f"# TYPE {match[1]} " in text
            found[match[1]] = float(match[2])
    return found


def test_a_daemon_tells_how_it_is(tmp_path: Path, server: Server) -> None:
    write_table(tmp_path / "slurm", [row(), row(JobID="18", NCPUS="odd"), row(JobID="19")])
    file = tmp_path / "jobmeter.prom"
    config = configuration(tmp_path, server.server_port, metrics={"file": str(file), "port": 0})
    with subprocess.Popen(command(config), env=environment(), stderr=subprocess.PIPE, text=True) as daemon:
        try:
            assert daemon.stderr is not None
            address = ""
            while not address:
                line = daemon.stderr.readline()
                assert line
                address = "".join(re.findall(r"metrics\.served address=(\S+)", line))
            found: dict[str, float] = {}

            def delivered() -> bool:
                with urllib.request.urlopen(address, timeout=PATIENCE_SECONDS) as answer:
                    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
                    found.update(read(answer.read().decode()))
                # The reading and the delivery tell of themselves when they are done, a moment after their records are.
                done = found["jobmeter_collect_readings_total"] > 0 and found["jobmeter_collect_sends_total"] > 0
                return found["jobmeter_collect_delivered_total"] == 2 and done and LAST_DELIVERY in found

            eventually(delivered)
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(address + "x", timeout=PATIENCE_SECONDS)
        finally:
            daemon.terminate()
            daemon.communicate()
    assert found["jobmeter_collect_waiting"] == 0
    assert found["jobmeter_collect_dead_letters"] == 1
    assert found["jobmeter_collect_readings_total"] >= 1
    assert found["jobmeter_collect_reading_failures_in_a_row"] == 0
    assert found["jobmeter_collect_newest_job_end_timestamp_seconds"] == 1711017000
    assert found[LAST_DELIVERY] > 1_700_000_000
    assert found["process_cpu_seconds_total"] > 0
    assert found["process_resident_memory_bytes"] > 2**20
    assert "jobmeter_collect_readings_total" in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o644
    assert [path.name for path in tmp_path.glob(".jobmeter*")] == []


def test_failures_of_reading_are_counted(tmp_path: Path) -> None:
    write_table(tmp_path / "slurm", [row()])
    (tmp_path / "slurm" / "fault.txt").write_text("slurmdbd is away")
    file = tmp_path / "jobmeter.prom"
    config = configuration(tmp_path, 1, metrics={"port": 0, "file": str(file)})
    with subprocess.Popen(command(config), env=environment(), stderr=subprocess.PIPE, text=True) as daemon:
        try:
            assert daemon.stderr is not None
            said = ""
            while "collect.unreadable" not in said:
                said += daemon.stderr.readline()
            address = re.findall(r"metrics\.served address=(\S+)", said)[0]
            with urllib.request.urlopen(address, timeout=PATIENCE_SECONDS) as answer:
                found = read(answer.read().decode())
        finally:
            daemon.terminate()
            daemon.communicate()
    assert found["jobmeter_collect_reading_failures_total"] >= 1
    assert found["jobmeter_collect_reading_failures_in_a_row"] >= 1
    assert "jobmeter_collect_last_reading_timestamp_seconds" not in found


def test_a_file_is_replaced_as_a_whole_and_a_folder_that_is_missing_is_told(tmp_path: Path) -> None:
    file = tmp_path / "a.prom"
    write("old\n", file)
    write("new\n", file)
    assert (file.read_text(), [path.name for path in tmp_path.iterdir()]) == ("new\n", ["a.prom"])
    with pytest.raises(FileNotFoundError):
        write("new\n", tmp_path / "none" / "a.prom")


def test_an_address_that_is_taken_stops_the_start(tmp_path: Path, server: Server) -> None:
    write_table(tmp_path / "slurm", [row()])
    config = configuration(tmp_path, server.server_port, metrics={"port": server.server_port})
    done = subprocess.run(
        command(config), env=environment(), capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert done.returncode == 1
    assert "Address already in use" in done.stderr
    assert json.loads(config.read_text())["port"] == server.server_port
