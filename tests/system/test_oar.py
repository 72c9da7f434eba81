"""Jobs of every ending on a real OAR, collected by the real command, compared with an own reading of its tables."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.postgresql import PrivatePostgresql
from tests.process import wait_until
from tests.run.test_serve import serving
from tests.system.debian import Unavailable
from tests.system.oar_cluster import OarCluster, install_oar
from tests.system.oar_history import BEYOND_LATIN, LINES, UGLY, configuration, expected, make_history, plain

pytestmark = pytest.mark.system

SRC = Path(__file__).parents[2] / "src"
both_ways = pytest.mark.parametrize("read_from", ["oarstat", "database"])


@pytest.fixture(scope="module")
def oar(postgresql: PrivatePostgresql) -> Iterator[OarCluster]:
    """A private OAR, empty."""
    try:
        install_oar()
    except Unavailable as reason:
        pytest.skip(str(reason))
    cluster = OarCluster(postgresql)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="module")
def endings(oar: OarCluster) -> dict[str, list[str]]:
    return make_history(oar)


def _written(oar: OarCluster, folder: Path, port: int, read_from: str, **more: Any) -> Path:
    path = folder / "config.yml"
    path.write_text(configuration(oar, port, read_from, str(folder / "spool"), **more))
    return path


def _started(config: Path, *options: str) -> subprocess.Popen[str]:
    # A zone of its own, and settings that change what Perl writes: neither may matter.
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(SRC), "TZ": "Europe/Berlin", "PERL_UNICODE": "SDA"}
    return subprocess.Popen(
        [sys.executable, "-m", "jobmeter", "collect", "oar", str(config), *options],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _collect(config: Path, *options: str) -> tuple[int, str, str]:
    with _started(config, *options) as process:
        out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def _lines(text: str | bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@both_ways
def test_the_server_holds_what_oar_says_of_every_job(
    oar: OarCluster, endings: dict[str, list[str]], tmp_path: Path, read_from: str
) -> None:
    with serving("serve", "--port", "0", folder=tmp_path) as server:
        code, _, said = _collect(_written(oar, tmp_path, server.port, read_from), "--once")
        stored = {record["record_id"]: record for record in _lines(server.get("/records"))}
    assert code == 0, said
    assert "refused=0" in said
    assert {name: plain(record) for name, record in stored.items()} == expected(oar)
    meta = {name: stored[f"oar-{job}"]["meta"] for name, (job, *_) in endings.items() if f"oar-{job}" in stored}
    assert set(endings) - set(meta) == {"never"}
    assert {name: meta[name]["ending"] for name in ("ok", "failed", "killed", "deleted", "walltime", "preempted")} == {
        "ok": ["completed"],
        "failed": ["failed"],
        "killed": ["failed"],
        "deleted": ["deleted"],
        "walltime": ["walltime"],
        "preempted": ["preempted"],
    }
    assert meta["failed"]["exit_code"] == ["7"]
    assert [meta[name]["job_name"] for name in ("ugly", "beyond", "lines")] == [[UGLY], [BEYOND_LATIN], [LINES]]
    assert meta["latin"]["job_name"] == ["café"]
    assert meta["whole"]["nodes"] == [",".join(sorted(oar.hosts))]
    assert (meta["deploy"]["types"], meta["whole"]["site_id"]) == (["deploy"], ["both"])
    array = [stored[f"oar-{job}"]["meta"] for job in endings["array"]]
    assert [(each["array"], each["index"]) for each in array] == [([endings["array"][0]], [str(i)]) for i in (1, 2, 3)]
    assert plain(stored[f"oar-{endings['moldable'][0]}"])["amounts"]["Walltime"] in {120, 3000}


def test_both_ways_of_reading_give_equal_records(
    oar: OarCluster, endings: dict[str, list[str]], tmp_path: Path
) -> None:
    printed = []
    for read_from in ("oarstat", "database"):
        code, out, said = _collect(_written(oar, tmp_path, 1, read_from), "--dry-run")
        assert code == 0, said
        assert "reason='never started'" in said
        printed.append(out.splitlines())
    assert printed[0] == printed[1]
    assert len(printed[0]) > 15


@both_ways
def test_a_second_reading_sends_nothing_again(
    oar: OarCluster, endings: dict[str, list[str]], tmp_path: Path, read_from: str
) -> None:
    with serving("serve", "--port", "0", folder=tmp_path) as server:
        config = _written(oar, tmp_path, server.port, read_from)
        assert _collect(config, "--once")[0] == 0
        stored = server.records()
        assert len(stored) > 15
        assert f"queued=0 repeated={len(stored)} refused=0 waiting=0" in _collect(config, "--once")[2]
        # Reading a period again sends all of it, and the server tells that it is the same.
        assert f"queued={len(stored)}" in _collect(config, "--since", "2020-01-01")[2]
        assert server.records() == stored
        assert json.loads(server.get("/v2/dead-letters?limit=10")) == []


@both_ways
def test_killed_at_any_time_and_without_a_server_it_loses_and_doubles_nothing(
    oar: OarCluster, endings: dict[str, list[str]], tmp_path: Path, read_from: str
) -> None:
    config = _written(oar, tmp_path, 1, read_from, slice_seconds=60, earliest_datetime=_beginning(oar))
    for lines in (1, 3, 6):
        process = _started(config)
        assert process.stderr is not None
        for _ in range(lines):
            process.stderr.readline()
        process.send_signal(signal.SIGKILL)
        process.communicate()
    more = oar.submit("-l", "/core=1,walltime=0:01:00")
    oar.wait(more[0], "Terminated")
    time.sleep(2)  # what ends in the very second of a reading is found by the next one
    with serving("serve", "--port", "0", folder=tmp_path) as server:
        again = _written(oar, tmp_path, server.port, read_from, slice_seconds=60, earliest_datetime=_beginning(oar))
        code, _, said = _collect(again, "--once")
        assert code == 0, said
        assert server.records() == set(expected(oar))
        assert json.loads(server.get("/v2/dead-letters?limit=10")) == []


def _beginning(oar: OarCluster) -> str:
    [(moment,)] = oar.ask(
        "SELECT to_char(now() AT TIME ZONE 'UTC' - interval '1 hour', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"
    )
    return str(moment)


def test_the_daemon_delivers_a_job_that_ends_while_it_runs(
    oar: OarCluster, endings: dict[str, list[str]], tmp_path: Path
) -> None:
    with serving("serve", "--port", "0", folder=tmp_path) as server:
        process = _started(_written(oar, tmp_path, server.port, "oarstat"))
        try:
            wait_until(lambda: server.records() == set(expected(oar)), "all is delivered", 60)
            [job] = oar.submit("-l", "/core=1,walltime=0:01:00", script="sleep 1")
            oar.wait(job, "Terminated")
            wait_until(lambda: f"oar-{job}" in server.records(), "the new job is delivered", 60)
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        finally:
            process.kill()
            process.communicate()


def test_jobs_of_one_queue_user_or_project_are_chosen(
    oar: OarCluster, endings: dict[str, list[str]], tmp_path: Path
) -> None:
    choices: list[tuple[dict[str, list[str]], str, str]] = [
        ({"queue": ["besteffort"]}, "preempted", "ok"),
        ({"project": ["physics"]}, "ok", "failed"),
        ({"user": ["jm-oar-bob"], "state": ["Terminated"]}, "failed", "preempted"),
    ]
    for chosen, inside, outside in choices:
        _, out, _ = _collect(_written(oar, tmp_path, 1, "database", job_filter=chosen), "--dry-run")
        found = {record["record_id"] for record in _lines(out)}
        assert f"oar-{endings[inside][0]}" in found
        assert f"oar-{endings[outside][0]}" not in found


@both_ways
def test_a_database_that_is_away_is_no_answer(
    oar: OarCluster, endings: dict[str, list[str]], postgresql: PrivatePostgresql, tmp_path: Path, read_from: str
) -> None:
    config = _written(oar, tmp_path, 1, read_from)
    postgresql.stop()
    try:
        code, _, said = _collect(config, "--once", "--deliver-seconds", "0.1")
    finally:
        postgresql.start()
    assert code == 1
    assert "collect.failed" in said
    assert "Traceback" not in said
    assert "queued=0" not in _collect(config, "--once", "--deliver-seconds", "0.1")[2]


def test_an_answer_of_oarstat_that_the_database_refused_is_no_answer(
    oar: OarCluster, endings: dict[str, list[str]], tmp_path: Path
) -> None:
    config = _written(oar, tmp_path, 1, "oarstat")
    # oarstat asks the tables one after the other; when one of them cannot be read, it goes on without.
    oar.change("ALTER TABLE assigned_resources RENAME TO elsewhere")
    try:
        code, _, said = _collect(config, "--once", "--deliver-seconds", "0.1")
    finally:
        oar.change("ALTER TABLE elsewhere RENAME TO assigned_resources")
    assert code == 1
    assert "gave its answer with a warning" in said
    assert "queued=0" not in _collect(config, "--once", "--deliver-seconds", "0.1")[2]
