"""Jobs of every ending on a real HTCondor, collected by the real command, compared with an own reading of history."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.run.test_collect import Server
from tests.system.debian import Unavailable
from tests.system.htcondor_pool import SCHEDDS, HtcondorPool

pytestmark = pytest.mark.system

REPOSITORY = Path(__file__).parents[2]
HOSTILE = "a,b \"q\" \\ \t| 'x' ünï € <y> ; undefined, 3"
RECORDED = REPOSITORY / "tests" / "cases" / "htcondor"
PLAIN = {"Cores": "CpusProvisioned", "Memory": "MemoryProvisioned", "Wall": "RemoteWallClockTime"}


@pytest.fixture(scope="module")
def pool() -> Iterator[HtcondorPool]:
    """A private pool with two schedds, empty."""
    try:
        running = HtcondorPool()
    except Unavailable as reason:
        pytest.skip(str(reason))
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def endings(pool: HtcondorPool) -> dict[str, str]:
    """The jobs by the way they ended, `SCHEDD CLUSTER`; all have left the queues."""
    jobs = {
        "ok": pool.submit(shell("sleep 2", 'My.VoName = "atlas"'), user="alice"),
        "failed": pool.submit(shell("exit 7"), user="bob"),
        "array": pool.submit(shell("sleep $(Process)"), user="bob", queue="queue 4"),
        "two cores": pool.submit([*shell("sleep 1"), "request_cpus = 2"], user="alice"),
        "running": pool.submit(shell("exec sleep 600"), user="carol"),
        "idle": pool.submit([*shell("true"), "requirements = False"], user="carol"),
        "held": pool.submit([*shell("exec sleep 600"), "hold = True"], user="carol"),
        "released": pool.submit(shell("exec sleep 25"), user="alice"),
        "waiting": pool.submit(shell("exec sleep 600"), user="carol"),
        "signal": pool.submit(shell("kill -9 $$"), user="bob"),
        "hostile": pool.submit(
            shell("true", f"My.Hostile = {quoted(HOSTILE)}", 'My.Tail = "ends in a backslash \\\\"'), user="bob"
        ),
        "not utf-8": pool.submit(shell("true", 'My.Hostile = "caf\udce9 \udcff"'), user="bob"),
        "kept": pool.submit(
            [*shell("sleep 1"), "leave_in_queue = JobStatus == 4 && time() - CompletionDate < 15"], user="alice"
        ),
        "local": pool.submit(["executable = /bin/true", "universe = local"], user="alice"),
    }
    second = pool.submit(shell("sleep 1"), user="alice", schedd=SCHEDDS[1])
    for job in ("running", "waiting", "released"):
        pool.wait_running(jobs[job])
    time.sleep(2)
    pool.run("condor_rm", "-name", SCHEDDS[0], jobs["running"], jobs["idle"], jobs["held"], user="carol")
    pool.run("condor_hold", "-name", SCHEDDS[0], jobs["waiting"], user="carol")
    pool.run("condor_hold", "-name", SCHEDDS[0], jobs["released"], user="alice")
    time.sleep(4)
    pool.run("condor_rm", "-name", SCHEDDS[0], jobs["waiting"], user="carol")
    pool.run("condor_release", "-name", SCHEDDS[0], jobs["released"], user="alice")
    pool.wait_gone()
    found = {ending: f"{SCHEDDS[0]} {cluster}" for ending, cluster in jobs.items()}
    return {**found, "second schedd": f"{SCHEDDS[1]} {second}"}


def shell(script: str, *more: str) -> list[str]:
    """A description that runs a script without quotes."""
    return ["executable = /bin/sh", f"arguments = \"-c '{script}'\"", *more]


def quoted(text: str) -> str:
    return '"' + text.replace('"', '\\"') + '"'


def configuration(pool: HtcondorPool, folder: Path, port: int, **more: object) -> Path:
    options = {
        "addr": "http://127.0.0.1",
        "port": port,
        "state_db": str(folder / "state.db"),
        "record_prefix": "htcondor",
        "schedd_names": list(SCHEDDS),
        "pool": f"127.0.0.1:{pool.port}",
        "interval": 1,
        "earliest_datetime": "2020-01-01T00:00:00",
        "condor_history_path": str(pool.commands / "condor_history"),
        "meta": {
            "user": {"key": "Owner"},
            "group": {"key": "VoName"},
            "hostile": {"key": "Hostile"},
            "tail": {"key": "Tail"},
            "exit": {"key": "ExitCode"},
            "signal": {"key": "ExitSignal", "only_if": {"key": "ExitBySignal", "matches": "true"}},
            "site": [{"key": "LastRemoteHost", "matches": "@(.*)"}, {"name": "NONE"}],
        },
        "components": [{"name": name, "key": key} for name, key in PLAIN.items()],
        **more,
    }
    options["components"][0]["scores"] = [{"name": "HS", "key": "MachineAttrApelSpecs0", "matches": r"HEPSPEC (\S+);"}]  # type: ignore[index]
    file = folder / "config.yml"
    file.write_text(json.dumps(options))
    return file


def command(config: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "jobmeter", "collect", "htcondor", "-c", str(config), *options]


def environment() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY / "src")}


def collect(config: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(config, *options), env=environment(), capture_output=True, text=True, timeout=300, check=False
    )


def own_reading(pool: HtcondorPool) -> dict[str, dict[str, Any]]:
    """What must be stored, by record id, from the -long form, which the collector never asks for."""
    found = {}
    for schedd in SCHEDDS:
        raw = pool.run("condor_history", "-name", schedd, "-long").stdout
        text = raw.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        for block in text.split("\n\n"):
            ad = dict(line.split(" = ", 1) for line in block.splitlines() if " = " in line)
            if ad and (expected := expectation(ad)) is not None:
                found[f"htcondor-{plain(ad['GlobalJobId'])}"] = expected
    return found


def plain(value: str) -> str:
    return value[1:-1].replace('\\"', '"') if value.startswith('"') else value


def expectation(ad: dict[str, str]) -> dict[str, Any] | None:
    if ad.get("NumJobStarts", "0") == "0" or "LastMatchTime" not in ad:
        return None
    stop = ad["CompletionDate"] if int(ad.get("CompletionDate", "0")) > 0 else ad["EnteredCurrentStatus"]
    if ad["JobStatus"] == "3" and ad["LastJobStatus"] != "2":
        stop = ad["LastVacateTime"]
    meta = {"user": "Owner", "group": "VoName", "hostile": "Hostile", "tail": "Tail", "exit": "ExitCode"}
    named = {name: [plain(ad[key])] for name, key in meta.items() if key in ad}
    if ad.get("ExitBySignal") == "true":
        named["signal"] = [ad["ExitSignal"]]
    return {
        "start_time": moment(ad["LastMatchTime"]),
        "stop_time": moment(stop),
        "meta": {**named, "site": [plain(ad["LastRemoteHost"]).partition("@")[2]], "collector_type": ["htcondor"]},
        "amounts": {name: int(float(ad[key])) for name, key in PLAIN.items()},
    }


def moment(seconds: str) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def stored(record: dict[str, Any]) -> dict[str, Any]:
    """A stored record as the own reading gives it."""
    [score] = record["components"][0]["scores"]
    assert score == {"name": "HS", "value": 13.7}
    amounts = {each["name"]: each["amount"] for each in record["components"]}
    return {**{key: record[key] for key in ("start_time", "stop_time", "meta")}, "amounts": amounts}


@pytest.mark.parametrize("form", ["json", "values"])
def test_the_server_holds_what_the_history_says_of_every_job(
    pool: HtcondorPool, endings: dict[str, str], tmp_path: Path, form: str
) -> None:
    expected = own_reading(pool)
    with Server() as server:
        with server.running():
            done = collect(configuration(pool, tmp_path, server.server_port, history_format=form), "-1")
        assert done.returncode == 0, done.stderr
        assert "refused=0" in done.stderr
        assert {name: stored(record) for name, record in server.records.items()} == expected
    by_ending = {ending: by_cluster(expected, job) for ending, job in endings.items()}
    counts = {ending: len(records) for ending, records in by_ending.items()}
    assert counts == dict.fromkeys(endings, 1) | {"array": 4, "idle": 0, "held": 0, "local": 0}
    assert by_ending["failed"][0]["meta"]["exit"] == ["7"]
    assert by_ending["signal"][0]["meta"]["signal"] == ["9"]
    assert by_ending["hostile"][0]["meta"]["hostile"] == [HOSTILE]
    assert by_ending["not utf-8"][0]["meta"]["hostile"] == ["caf\ufffd \ufffd"]
    assert by_ending["two cores"][0]["amounts"]["Cores"] == 2


def by_cluster(records: dict[str, dict[str, Any]], job: str) -> list[dict[str, Any]]:
    schedd, cluster = job.split()
    named = re.compile(rf"htcondor-{re.escape(schedd)}#{cluster}\.\d+#\d+")
    return [record for name, record in records.items() if named.fullmatch(name)]


def test_both_forms_give_equal_records_and_expressions_their_values(
    pool: HtcondorPool, endings: dict[str, str], tmp_path: Path
) -> None:
    outputs = []
    for form in ("json", "values"):
        done = collect(configuration(pool, tmp_path, 1, history_format=form), "--dry-run")
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout.splitlines())
    assert outputs[0] == outputs[1]
    computed = [{"name": "C", "key": "RemoteUserCpu + RemoteSysCpu + 3"}, {"name": "M", "key": "ImageSize_RAW / 1"}]
    done = collect(configuration(pool, tmp_path, 1, components=computed), "--dry-run")
    assert "form=values" in done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(records) == len(outputs[0])
    assert all(record["components"][0]["amount"] >= 3 for record in records)


def test_reading_again_and_two_at_once_send_nothing_twice(
    pool: HtcondorPool, endings: dict[str, str], tmp_path: Path
) -> None:
    count = len(own_reading(pool))
    with Server() as server, server.running():
        config = configuration(pool, tmp_path, server.server_port)
        both = [subprocess.Popen(command(config, "-1"), env=environment(), stderr=subprocess.PIPE) for _ in range(2)]
        assert [process.communicate(timeout=300) and process.returncode for process in both] == [0, 0]
        assert collect(config, "-1").returncode == 0
        assert (len(server.records), server.received) == (count, count)


def test_a_daemon_that_is_killed_and_schedds_that_go_away_lose_nothing(
    pool: HtcondorPool, endings: dict[str, str], tmp_path: Path
) -> None:
    with Server() as server, server.running():
        config = configuration(pool, tmp_path, server.server_port)
        log = (tmp_path / "log").open("w")
        daemon = subprocess.Popen(command(config), env=environment(), stderr=log)
        try:
            until(lambda: len(server.records) == len(own_reading(pool)))
            daemon.send_signal(signal.SIGKILL)
            daemon.wait()
            pool.submit(shell("true"), user="bob", queue="queue 3")
            pool.wait_gone()
            daemon = subprocess.Popen(command(config), env=environment(), stderr=log)
            until(lambda: len(server.records) == len(own_reading(pool)))
            pool.stop_daemons()
            until(lambda: "collect.unreadable" in (tmp_path / "log").read_text())
            pool.start_daemons()
            pool.submit(shell("true"), user="bob")
            pool.submit(shell("true"), user="bob", schedd=SCHEDDS[1])
            pool.wait_gone()
            until(lambda: len(server.records) == len(own_reading(pool)))
            daemon.send_signal(signal.SIGTERM)
            assert daemon.wait(60) == 0
        finally:
            daemon.kill()
            daemon.wait()
            log.close()
        assert set(server.records) == set(own_reading(pool))
        assert server.received == len(server.records)


def until(fact: Any, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < end
        time.sleep(0.3)


def test_a_history_file_is_read_without_a_schedd(pool: HtcondorPool, endings: dict[str, str], tmp_path: Path) -> None:
    first, *_ = (pool.folder / "local" / "spool").glob("history")
    config = configuration(pool, tmp_path, 1, schedd_names=["nobody@"])
    done = collect(config, "-k", str(first), "--dry-run")
    assert done.returncode == 0, done.stderr
    expected = {name for name in own_reading(pool) if name.startswith(f"htcondor-{SCHEDDS[0]}")}
    assert {json.loads(line)["record_id"] for line in done.stdout.splitlines()} == expected


def test_filters_choose_among_the_endings(pool: HtcondorPool, endings: dict[str, str], tmp_path: Path) -> None:
    for more, endings_left in (
        ({"job_status": [3]}, {"running", "waiting"}),
        ({"constraint": 'Owner == "carol"', "job_status": [3, 4]}, {"running", "waiting"}),
        ({"constraint": "'ExitCode == 7'"}, {"failed"}),
    ):
        done = collect(configuration(pool, tmp_path, 1, **more), "--dry-run")
        found = {json.loads(line)["record_id"].split("#")[1] for line in done.stdout.splitlines()}
        assert found == {f"{endings[ending].split()[1]}.0" for ending in endings_left}, done.stderr
