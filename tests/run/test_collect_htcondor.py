"""The whole command for HTCondor as a process, on a recorded history and a server over a real socket."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.observe.htcondor_history import ad, calls, write_history
from tests.process import PATIENCE_SECONDS, eventually, free_port
from tests.run.test_collect import Server, environment

EARLY = "2020-01-01T00:00:00Z"


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield listening
        listening.shutdown()
        thread.join()


def configuration(folder: Path, port: int, **more: object) -> Path:
    options = {
        "addr": "http://127.0.0.1",
        "port": port,
        "state_db": str(folder / "state.db"),
        "record_prefix": "htcondor",
        "schedd_names": ["s1"],
        "interval": 1,
        "earliest_datetime": EARLY,
        "condor_history_path": str(folder / "condor" / "condor_history"),
        "meta": {"site": [{"name": "SITE"}], "user": {"key": "Owner"}},
        "components": [{"name": "Cores", "key": "CpusProvisioned"}],
        **more,
    }
    path = folder / "config.yml"
    path.write_text(json.dumps(options))
    return path


def command(*options: str | Path) -> list[str]:
    return [sys.executable, "-m", "jobmeter", "collect", "htcondor", *map(str, options)]


def collect(*options: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*options), env=environment(), capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )


def history(folder: Path, *clusters: int, **changes: Any) -> None:
    write_history(folder / "condor", [ad(cluster, **changes) for cluster in clusters])


def numbers(server: Server) -> list[str]:
    return sorted(name.split("#")[1] for name in server.records)


@pytest.mark.parametrize("flag", ["-1", "--one-shot", "--once"])
def test_one_shot_delivers_what_is_new_and_a_second_time_nothing_more(
    tmp_path: Path, server: Server, flag: str
) -> None:
    history(tmp_path, 2, 1)
    config = configuration(tmp_path, server.server_port)
    first = collect("-c", config, flag)
    assert first.returncode == 0, first.stderr
    assert numbers(server) == ["1.0", "2.0"]
    assert collect(config, flag).returncode == 0
    assert server.received == 2


def test_one_shot_in_the_file_works_too(tmp_path: Path, server: Server) -> None:
    history(tmp_path, 1)
    assert collect(configuration(tmp_path, server.server_port, one_shot=True)).returncode == 0
    assert numbers(server) == ["1.0"]


def test_the_options_of_auditors_collector_win_over_the_file(tmp_path: Path, server: Server) -> None:
    history(tmp_path, 3, 2, 1)
    config = configuration(tmp_path, server.server_port, interval=900)
    log = tmp_path / "log"
    options = ("-j", "1.0", "-n", "a", "-n", "b", "-l", "DEBUG", "-f", str(log), "-i", "5", "-1")
    done = collect("-c", config, *options)
    assert done.returncode == 0, done.stderr
    assert numbers(server) == ["2.0", "3.0"]
    asked = calls(tmp_path / "condor")
    assert [argv[argv.index("-name") + 1] for argv in asked] == ["a", "b"]
    assert {argv[argv.index("-since") + 1] for argv in asked} == {"ClusterId == 1 && ProcId == 0"}
    assert "collect.done" in log.read_text()
    assert "DEBUG" in log.read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("-j", "first"), "is not a job"),
        (("-l", "LOUD"), "is not one of DEBUG"),
        (("-i", "0"), "is not a time in seconds"),
    ],
)
def test_wrong_options_are_exit_code_2(tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    done = collect("-c", configuration(tmp_path, 1), *options)
    assert done.returncode == 2
    assert said in done.stderr


def test_without_settings_it_says_what_is_missing() -> None:
    done = collect("--once")
    assert done.returncode == 2
    assert "which settings?" in done.stderr


def test_a_dry_run_prints_and_leaves_no_trace(tmp_path: Path, server: Server) -> None:
    history(tmp_path, 1)
    done = collect("-c", configuration(tmp_path, server.server_port), "--dry-run")
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["components"][0]["amount"] for line in done.stdout.splitlines()] == [4]
    assert server.received == 0
    assert not list(tmp_path.glob("*.spool*"))


def test_a_period_is_read_again(tmp_path: Path, server: Server) -> None:
    history(tmp_path, 1)
    config = configuration(tmp_path, server.server_port)
    assert collect(config, "--once").returncode == 0
    assert collect(config, "--since", "2026-11-21", "--until", "2026-11-22").returncode == 0
    assert collect(config, "--since", "2026-11-22", "--until", "2026-11-23").returncode == 0
    assert server.received == 2


def test_one_schedd_away_does_not_keep_back_what_others_gave(tmp_path: Path, server: Server) -> None:
    history(tmp_path, 1)
    (tmp_path / "condor" / "s2.fault.txt").write_text("Unable to locate remote schedd")
    write_history(tmp_path / "condor", [], "s2")
    done = collect("-c", configuration(tmp_path, server.server_port, schedd_names=["s2", "s1"]), "-1")
    assert done.returncode == 1
    assert "Unable to locate" in done.stderr
    assert numbers(server) == ["1.0"]


def test_a_server_that_is_away_loses_nothing(tmp_path: Path, server: Server) -> None:
    history(tmp_path, 2, 1)
    away = collect(configuration(tmp_path, free_port()), "--once", "--deliver-seconds", "0.2")
    assert away.returncode == 1
    assert collect(configuration(tmp_path, server.server_port), "--once").returncode == 0
    assert (numbers(server), server.received) == (["1.0", "2.0"], 2)


def test_a_collector_killed_at_any_moment_and_two_at_once_lose_and_double_nothing(
    tmp_path: Path, server: Server
) -> None:
    history(tmp_path, *range(400, 0, -1))
    config = configuration(tmp_path, server.server_port, batch_records=20)
    for patience in (0.25, 0.4, 0.5):
        process = subprocess.Popen(command(config), env=environment(), stderr=subprocess.DEVNULL)
        time.sleep(patience)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    both = [subprocess.Popen(command(config, "--once"), env=environment(), stderr=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait(PATIENCE_SECONDS) for process in both].count(0) >= 1
    eventually(lambda: collect(config, "--once").returncode == 0)
    assert numbers(server) == sorted(f"{number}.0" for number in range(1, 401))
    delivered = server.received
    assert collect(config, "--once").returncode == 0
    assert server.received == delivered


def test_the_superseded_programs_name_collects_too(tmp_path: Path, server: Server) -> None:
    history(tmp_path, 1)
    config = configuration(tmp_path, server.server_port)
    code = "import sys; from jobmeter.run.main import auditor_htcondor_collector as run; sys.exit(run(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, "-c", str(config), "-1"], env=environment(), check=False, timeout=PATIENCE_SECONDS
    )
    assert done.returncode == 0
    assert numbers(server) == ["1.0"]
