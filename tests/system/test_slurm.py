"""Jobs of every ending on a real Slurm, collected by the real command, compared with an own reading of sacct."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.process import wait_until
from tests.run.test_serve import serving
from tests.system.slurm_cluster import SlurmCluster

pytestmark = pytest.mark.system

SETTLE_SECONDS = 5
SRC = Path(__file__).parents[2] / "src"
HOSTILE = "a|b 'c' \"d\" \\ e\nsecond line|1|2|COMPLETED\n\n§ ünï € <x> ,"
VOMS = "{ 'voms': '/atlas/Role=production', 'subject': 'O'Brien' }"
COLUMNS = (
    "JobIDRaw", "JobID", "State", "Submit", "Start", "End", "User", "Group", "Account", "Partition", "NCPUS", "NNodes",
    "ReqMem", "MaxRSS", "SystemCPU", "UserCPU", "TotalCPU", "Elapsed", "NodeList",
)  # fmt: skip


@pytest.fixture(scope="module")
def endings(slurm: SlurmCluster) -> dict[str, str]:
    """The jobs by the way they ended; all have ended, and their last steps are stored."""
    burn = "python3 -c 'b = bytearray(60 << 20); b[::4096] = b[::4096]; sum(range(12000000))'\nsleep 2\n"
    jobs = {
        "timeout": slurm.submit("sleep 300\n", "-t", "0:01"),
        "completed": slurm.submit(burn, "--comment", "plain", "-J", "na|me"),
        "failed": slurm.submit("exit 7\n", "-p", "batch"),
        "hostile": slurm.submit("true\n", "--comment", HOSTILE),
        "voms": slurm.submit("true\n", "--comment", VOMS, user="nobody"),
        "steps": slurm.submit("srun -n1 --exact sleep 1\nsrun -n1 --exact false\nsrun -n1 --exact true\n", "-c", "2"),
        "array": slurm.submit("[ $SLURM_ARRAY_TASK_ID != 2 ]\n", "--array=1-3%2"),
        "held": slurm.submit("true\n", "-H", "--array=1-2"),
        "later": slurm.submit("true\n", "--begin=now+1hour"),
        "cancelled": slurm.submit("sleep 300\n"),
        "requeued": slurm.submit("sleep 300\n", "-J", "requeued"),
        "failed node": slurm.submit("[ $SLURM_RESTART_COUNT ] || sleep 300\n", "--requeue", "-p", "batch"),
        "het": slurm.submit(
            "sleep 1\nsrun --het-group=0,1 sleep 1\n", "-n1", "--mem=60M", ":", "-n1", "--mem=50M", "-p", "batch"
        ),
    }
    slurm.run("scancel", jobs["held"])
    slurm.run("scancel", jobs["later"])
    slurm.wait_running(jobs["cancelled"])
    slurm.run("scancel", jobs["cancelled"])
    _requeue_once(slurm, jobs["requeued"])
    _fail_node(slurm, jobs["failed node"])
    slurm.wait_idle()
    jobs["interactive"] = slurm.run("salloc", "-Q", "srun", "printenv", "SLURM_JOB_ID", timeout=120).stdout.strip()
    wait_until(lambda: "RUNNING" not in _sacct(slurm, "State"), "slurmdbd has all ends", 60)
    time.sleep(SETTLE_SECONDS + 1)
    return jobs


def _requeue_once(slurm: SlurmCluster, job: str) -> None:
    slurm.wait_running(job)
    slurm.run("scontrol", "requeue", job)
    wait_until(lambda: slurm.state(job) == "PENDING", "the job waits again", 30)
    slurm.start_now(job)
    slurm.run("scancel", job)


def _fail_node(slurm: SlurmCluster, job: str) -> None:
    slurm.wait_running(job)
    wait_until(lambda: slurm.running("batch") == {job}, "only this job runs on its node", 180)
    slurm.run("scontrol", "update", "partitionname=batch", "state=down")
    slurm.run("scontrol", "update", "nodename=n2", "state=down", "reason=test")
    wait_until(lambda: slurm.state(job) == "PENDING", "the job waits again", 60)
    slurm.run("scontrol", "update", "nodename=n2", "state=resume", check=False)  # it may have come back already
    wait_until(
        lambda: slurm.run("sinfo", "-h", "-n", "n2", "-p", "batch", "-o", "%T").stdout.strip() == "idle",
        "n2 is back",
        90,
    )
    slurm.run("scontrol", "update", "partitionname=batch", "state=up")
    slurm.start_now(job, ended_too=True)


def _sacct(slurm: SlurmCluster, columns: str) -> str:
    return slurm.run("sacct", "-a", "-D", "-S", "2000-01-01", "-n", "-P", "--noconvert", "-o", columns).stdout


class Reading:
    """An own, simple reading of sacct: a table without free text, and the comments one by one."""

    def __init__(self, slurm: SlurmCluster) -> None:
        slurm.environment["TZ"] = "UTC"
        text = _sacct(slurm, ",".join(COLUMNS))
        self.rows = [dict(zip(COLUMNS, line.split("|"), strict=True)) for line in text.splitlines()]
        self._slurm = slurm

    def jobs(self) -> Iterator[tuple[dict[str, str], list[dict[str, str]]]]:
        place = 0
        while place < len(self.rows):
            job, steps = self.rows[place], []
            place += 1
            while place < len(self.rows) and "." in self.rows[place]["JobID"]:
                steps.append(self.rows[place])
                place += 1
            yield job, steps

    def comment(self, job: str) -> str:
        return self._slurm.run("sacct", "-X", "-n", "-P", "-j", job, "-o", "Comment").stdout.removesuffix("\n")

    def expected(self) -> dict[str, dict[str, Any]]:
        """What the configuration of this test asks for, by record id."""
        latest = {job["JobIDRaw"]: job for job, _ in self.jobs()}
        records = {}
        for job, steps in self.jobs():
            if job["NodeList"] == "None assigned" or job["End"] == "Unknown":
                continue
            name = f"slurm-{job['JobID']}"
            if latest[job["JobIDRaw"]] is not job:
                name += f"-{int(_utc(job['Start']).timestamp())}"
            assert name not in records
            records[name] = self._record(job, steps)
        return records

    def _record(self, job: dict[str, str], steps: list[dict[str, str]]) -> dict[str, Any]:
        meta = {
            "site_id": ["debugging" if job["Partition"] == "debug" else "rest"],
            "user_id": [job["User"]],
            "group_id": [job["Group"]],
            "account": [job["Account"]],
        }
        comment = self.comment(job["JobID"])
        if comment:
            meta["comment"] = [comment]
        peaks = [int(step["MaxRSS"]) for step in steps if step["MaxRSS"]]
        amounts = {
            "Cores": int(job["NCPUS"]),
            "NNodes": int(job["NNodes"]),
            "Memory": int(job["ReqMem"].removesuffix("M")),
            "MaxRSS": max(peaks, default=0),
            **{name: _milliseconds(job[name]) for name in ("SystemCPU", "UserCPU", "TotalCPU", "Elapsed")},
        }
        times = {"start_time": f"{job['Start']}Z", "stop_time": f"{job['End']}Z"}
        return {"meta": meta, "amounts": amounts, **times}


def _utc(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)


def _milliseconds(text: str) -> int:
    days, _, clock = text.rpartition("-")
    whole, _, fraction = clock.partition(".")
    seconds = 0
    for part in whole.split(":"):
        seconds = seconds * 60 + int(part)
    return (int(days or 0) * 86400 + seconds) * 1000 + int(fraction or 0)


def _configuration(folder: Path, port: int, form: str) -> Path:
    options = {
        "port": port,
        "earliest_datetime": "2000-01-01T00:00:00+00:00",
        "slice_seconds": 100 * 365 * 86400,
        "database_path": str(folder / "state.db"),
        "job_filter": {"status": []},
        "settle_seconds": SETTLE_SECONDS,
        "sacct_format": form,
        "sites": [{"name": "debugging", "only_if": {"key": "Partition", "matches": "^debug$"}}, {"name": "rest"}],
        "meta": [
            {"name": "comment", "key": "Comment", "key_type": "String", "key_allow_empty": True},
            {"name": "account", "key": "Account", "key_type": "String"},
        ],
        "components": [
            {"name": "Cores", "key": "NCPUS"},
            {"name": "NNodes", "key": "NNodes"},
            {"name": "Memory", "key": "ReqMem", "key_type": "IntegerMega"},
            {"name": "MaxRSS", "key": "MaxRSS", "default_value": 0},
            *(
                {"name": name, "key": name, "key_type": "Time"}
                for name in ("SystemCPU", "UserCPU", "TotalCPU", "Elapsed")
            ),
        ],
    }
    path = folder / "config.yml"
    path.write_text(json.dumps(options))
    return path


def _collect(slurm: SlurmCluster, config: Path, *options: str) -> subprocess.CompletedProcess[str]:
    # A zone with a change of the clock, and a format of the administrator's: neither may matter.
    environment = {**slurm.environment, "PYTHONPATH": str(SRC), "TZ": "Europe/Berlin", "SACCT_FORMAT": "JobName"}
    environment["SLURM_TIME_FORMAT"] = "%s"
    return subprocess.run(
        [sys.executable, "-m", "jobmeter", "collect", "slurm", str(config), *options],
        env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    """A record as the own reading gives it."""
    stamps = ("collector_type", "time_unit")
    assert record["meta"]["time_unit"] == ["milliseconds"]
    return {
        "meta": {key: value for key, value in record["meta"].items() if key not in stamps},
        "amounts": {each["name"]: each["amount"] for each in record["components"]},
        "start_time": record["start_time"],
        "stop_time": record["stop_time"],
    }


@pytest.mark.parametrize("form", ["json", "text"])
def test_the_server_holds_what_sacct_says_of_every_job(
    slurm: SlurmCluster, endings: dict[str, str], tmp_path: Path, form: str
) -> None:
    expected = Reading(slurm).expected()
    with serving("serve", "--port", "0", folder=tmp_path) as server:
        done = _collect(slurm, _configuration(tmp_path, server.port, form), "--once")
        stored = [json.loads(line) for line in server.get("/records").splitlines()]
    assert done.returncode == 0, done.stderr
    assert f"form={form}" in done.stderr
    assert "refused=0" in done.stderr, done.stderr
    assert {record["record_id"]: _plain(record) for record in stored} == expected
    assert len(stored) == len(expected)
    names = set(expected)
    job = {ending: f"slurm-{number}" for ending, number in endings.items()}
    assert {
        job[ending] for ending in ("completed", "failed", "hostile", "voms", "steps", "cancelled", "timeout")
    } <= names
    assert {f"{job['array']}_{task}" for task in (1, 2, 3)} <= names
    assert {f"{job['het']}+0", f"{job['het']}+1", job["interactive"]} <= names
    assert not {name for name in names if name.startswith((job["held"] + "_", job["later"]))}
    for ending in ("requeued", "failed node"):
        assert len([name for name in names if name == job[ending] or name.startswith(job[ending] + "-")]) == 2
    assert expected[job["hostile"]]["meta"]["comment"] == [HOSTILE]


def test_both_forms_give_equal_records(slurm: SlurmCluster, endings: dict[str, str], tmp_path: Path) -> None:
    printed = []
    for form in ("json", "text"):
        done = _collect(slurm, _configuration(tmp_path, 1, form), "--dry-run")
        assert done.returncode == 0, done.stderr
        printed.append(sorted(done.stdout.splitlines()))
    assert printed[0] == printed[1]
    assert len(printed[0]) > 15


def test_a_second_reading_sends_nothing_again(slurm: SlurmCluster, endings: dict[str, str], tmp_path: Path) -> None:
    with serving("serve", "--port", "0", folder=tmp_path) as server:
        config = _configuration(tmp_path, server.port, "auto")
        first = _collect(slurm, config, "--once")
        assert first.returncode == 0, first.stderr
        stored = server.records()
        assert len(stored) > 15
        again = _collect(slurm, config, "--once")
        assert again.returncode == 0
        assert f"queued=0 repeated={len(stored)} refused=0 waiting=0" in again.stderr
        # Reading a period again sends all of it, and the server tells that it is the same.
        forced = _collect(slurm, config, "--since", "2000-01-01")
        assert forced.returncode == 0, forced.stderr
        assert f"queued={len(stored)}" in forced.stderr
        assert server.records() == stored
        assert json.loads(server.get("/v2/dead-letters?limit=10")) == []


def test_filters_choose_among_the_endings(slurm: SlurmCluster, endings: dict[str, str], tmp_path: Path) -> None:
    config = _configuration(tmp_path, 1, "text")
    options = json.loads(config.read_text())
    for status, ending in (["to"], "timeout"), (["Failed"], "failed"):
        options["job_filter"] = {"status": status, "user": ["root"]}
        config.write_text(json.dumps(options))
        found = {json.loads(line)["record_id"] for line in _collect(slurm, config, "--dry-run").stdout.splitlines()}
        assert f"slurm-{endings[ending]}" in found
        assert f"slurm-{endings['completed']}" not in found
    options["job_filter"] = {"status": [], "user": ["nobody"]}
    config.write_text(json.dumps(options))
    found = {json.loads(line)["record_id"] for line in _collect(slurm, config, "--dry-run").stdout.splitlines()}
    assert found == {f"slurm-{endings['voms']}"}


def test_an_accounting_daemon_that_is_away_loses_nothing(
    slurm: SlurmCluster, endings: dict[str, str], tmp_path: Path
) -> None:
    config = _configuration(tmp_path, 1, "auto")
    options = json.loads(config.read_text())
    wrong = tmp_path / "slurm.conf"
    conf = Path(slurm.environment["SLURM_CONF"]).read_text()
    wrong.write_text("".join(f"{line}\n" for line in conf.splitlines() if "AccountingStoragePort" not in line)
                     + "AccountingStoragePort=1\n")  # fmt: skip
    config.write_text(json.dumps(options))
    kept = slurm.environment["SLURM_CONF"]
    try:
        slurm.environment["SLURM_CONF"] = str(wrong)
        failed = _collect(slurm, config, "--once", "--deliver-seconds", "0.1")
    finally:
        slurm.environment["SLURM_CONF"] = kept
    assert failed.returncode == 1
    assert "collect.failed" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert "queued=0" not in _collect(slurm, config, "--once", "--deliver-seconds", "0.1").stderr
