"""The whole command as a process, on a recorded sacct and a server that answers over a real socket."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.observe import slurm_tables
from tests.observe.slurm_tables import calls, write_table
from tests.process import PATIENCE_SECONDS, eventually, free_port

SRC = Path(__file__).parents[2] / "src"


class Server(ThreadingHTTPServer):
    """Takes records at /v2/records and says of each whether it was there before."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.records: dict[str, Any] = {}
        self.received = 0
        self.lock = threading.Lock()

    @contextmanager
    def running(self) -> Iterator[None]:
        """The server answers within."""
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield
        finally:
            self.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        records = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/v2/collections":
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        with self.server.lock:
            outcomes = [
                {"outcome": "same" if record["record_id"] in self.server.records else "new"} for record in records
            ]
            self.server.records.update({record["record_id"]: record for record in records})
            self.server.received += len(records)
        body = json.dumps({"outcomes": outcomes}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as listening, listening.running():
        yield listening


def row(**changes: str) -> dict[str, str]:
    """A job that ended in the past of the machine's own clock."""
    times = {"Submit": "2024-03-21T10:00:00", "Start": "2024-03-21T10:00:01", "End": "2024-03-21T10:30:00"}
    return slurm_tables.row(**times, **changes)


def configuration(folder: Path, port: int, **more: object) -> Path:
    sacct = folder / "slurm" / "sacct"
    options = {
        "port": port,
        "sacct_path": str(sacct),
        "database_path": f"sqlite://{folder / 'state.db'}",
        "earliest_datetime": "2024-03-01T00:00:00+00:00",
        "job_filter": {"status": []},
        "sacct_frequency": 1,
        "overlap_seconds": 10**9,
        "slice_seconds": 10**9,
        **more,
    }
    path = folder / "config.yml"
    path.write_text(json.dumps(options))
    return path


def command(config: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "jobmeter", "collect", "slurm", str(config), *options]


def environment(**more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(SRC), **more}


def collect(config: Path, *options: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(config, *options),
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def test_once_delivers_what_ended_and_a_second_time_nothing_more(tmp_path: Path, server: Server) -> None:
    write_table(tmp_path / "slurm", [row(), row(JobID="18", NCPUS="odd"), row(JobID="19")])
    config = configuration(tmp_path, server.server_port)
    first = collect(config, "--once")
    assert first.returncode == 0, first.stderr
    assert sorted(server.records) == ["slurm-17", "slurm-19"]
    assert "collect.done queued=2 repeated=0 refused=1 waiting=0" in first.stderr
    assert "time_unit=milliseconds" in first.stderr
    second = collect(config, "--once")
    assert second.returncode == 0
    assert "queued=0 repeated=2 refused=0" in second.stderr
    assert server.received == 2


def test_a_period_is_sent_again_and_moves_nothing(tmp_path: Path, server: Server) -> None:
    write_table(tmp_path / "slurm", [row()])
    config = configuration(tmp_path, server.server_port)
    collect(config, "--once")
    again = collect(config, "--since", "2024-03-21", "--until", "2024-03-21T12:00:00Z")
    assert again.returncode == 0, again.stderr
    assert server.received == 2
    nothing = collect(config, "--since", "2024-03-22", "--until", "2024-03-23")
    assert "queued=0" in nothing.stderr
    assert "queued=0 repeated=1" in collect(config, "--once").stderr


def test_a_dry_run_prints_and_touches_nothing(tmp_path: Path, server: Server) -> None:
    write_table(tmp_path / "slurm", [row(), row(JobID="18", NCPUS="odd")])
    before = {path.name for path in tmp_path.iterdir()} | {"config.yml"}
    done = collect(configuration(tmp_path, server.server_port), "--dry-run")
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["record_id"] for line in done.stdout.splitlines()] == ["slurm-17"]
    assert "'odd' is not a whole number" in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == before
    assert server.received == 0


def test_what_cannot_be_delivered_stays_in_the_spool_for_the_next_time(tmp_path: Path, server: Server) -> None:
    write_table(tmp_path / "slurm", [row()])
    away = collect(configuration(tmp_path, free_port()), "--once", "--deliver-seconds", "0.2")
    assert away.returncode == 1
    assert "waiting=1" in away.stderr
    assert (tmp_path / "state.db.spool").exists()
    assert collect(configuration(tmp_path, server.server_port), "--once").returncode == 0
    assert list(server.records) == ["slurm-17"]


def test_auditors_state_file_is_left_alone(tmp_path: Path, server: Server) -> None:
    write_table(tmp_path / "slurm", [row()])
    (tmp_path / "state.db").write_bytes(b"")
    assert collect(configuration(tmp_path, server.server_port), "--once").returncode == 0
    assert (tmp_path / "state.db").read_bytes() == b""


def test_the_daemon_survives_a_sacct_that_fails_and_ends_cleanly(tmp_path: Path, server: Server) -> None:
    write_table(tmp_path / "slurm", [row()])
    fault = tmp_path / "slurm" / "fault.txt"
    fault.write_text("sacct: error: the database is away")
    log = tmp_path / "log"
    with log.open("w") as stream:
        process = subprocess.Popen(
            command(configuration(tmp_path, server.server_port)), env=environment(), stderr=stream
        )
    try:
        eventually(lambda: "the database is away" in log.read_text())
        assert process.poll() is None
        process.send_signal(signal.SIGHUP)
        fault.unlink()
        eventually(lambda: list(server.records) == ["slurm-17"])
        write_table(tmp_path / "slurm", [row(), row(JobID="18")])
        eventually(lambda: sorted(server.records) == ["slurm-17", "slurm-18"])
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 0
    finally:
        process.kill()
        process.wait()
    assert server.received == 2
    assert "collect.recovered" in log.read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_sacct_that_hangs(tmp_path: Path, server: Server, number: signal.Signals) -> None:
    sacct = write_table(tmp_path / "slurm", [])
    note = tmp_path / "pid"
    sacct.write_text(f"#!/bin/sh\necho $$ > {note}\nexec sleep 600\n")
    process = subprocess.Popen(command(configuration(tmp_path, server.server_port)), env=environment())
    try:
        eventually(lambda: note.exists() and bool(note.read_text().strip()))
        process.send_signal(number)
        assert process.wait(PATIENCE_SECONDS) == 0
    finally:
        process.kill()
        process.wait()
    eventually(lambda: not Path(f"/proc/{note.read_text().strip()}").exists())


def test_settings_come_from_auditors_environment_variables_too(tmp_path: Path, server: Server) -> None:
    write_table(tmp_path / "slurm", [row()])
    config = configuration(tmp_path, 1)
    variables = {
        "AUDITOR_SLURM_COLLECTOR_PORT": str(server.server_port),
        "AUDITOR_SLURM_COLLECTOR_RECORD_PREFIX": "hpc",
        "AUDITOR_SLURM_COLLECTOR_JOB_FILTER__STATUS": "completed,failed",
    }
    assert collect(config, "--once", **variables).returncode == 0
    assert list(server.records) == ["hpc-17"]
    [argv] = [argv for argv, _ in calls(tmp_path / "slurm") if "-s" in argv]
    assert argv[argv.index("-s") + 1] == "CD,F"


@pytest.mark.parametrize(
    ("options", "wrong", "said"),
    [
        ((), {"unknown_key": 1}, "unknown_key"),
        ((), {"sacct_frequency": 0}, "sacct_frequency"),
        (("--until", "2024-03-21"), {}, "--until needs --since"),
        (("--since", "2024-03-21", "--until", "2024-03-20"), {}, "--until is not after --since"),
        (("--since", "yesterday"), {}, "yesterday"),
    ],
)
def test_wrong_use_and_wrong_settings_are_exit_code_2(
    tmp_path: Path, options: tuple[str, ...], wrong: dict[str, object], said: str
) -> None:
    done = collect(configuration(tmp_path, 1, **wrong), *options)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_key_within_a_map_that_auditor_ignored_is_a_note(tmp_path: Path, server: Server) -> None:
    write_table(tmp_path / "slurm", [row()])
    done = collect(configuration(tmp_path, server.server_port, job_filter={"status": [], "colour": 1}), "--once")
    assert done.returncode == 0
    assert "job_filter.colour" in done.stderr


def test_the_superseded_programs_name_collects_too(tmp_path: Path, server: Server) -> None:
    write_table(tmp_path / "slurm", [row()])
    config = configuration(tmp_path, server.server_port)
    code = "import sys; from jobmeter.run.main import auditor_slurm_collector as run; sys.exit(run(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(config), "--once"], env=environment(), check=False, timeout=PATIENCE_SECONDS
    )
    assert done.returncode == 0
    assert list(server.records) == ["slurm-17"]


def test_a_log_file_is_written_where_auditors_settings_ask_for_one(tmp_path: Path, server: Server) -> None:
    write_table(tmp_path / "slurm", [row()])
    logging = {"log_to_file": True, "log_dir": str(tmp_path / "logs"), "log_file_prefix": "mine"}
    assert collect(configuration(tmp_path, server.server_port, logging=logging), "--once").returncode == 0
    text = (tmp_path / "logs" / "mine.log").read_text()
    assert "collect.done queued=1" in text
    assert "time_unit=seconds" in text
