"""A real Slurm calls the real command when its jobs end, with no server there; later all is delivered."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobmeter.deliver.announcements import Announcements
from jobmeter.deliver.settings import SpoolSettings
from jobmeter.deliver.spool import Spool
from jobmeter.observe.host import SystemClock
from tests.observe.test_slurm_epilog_text import SPOOFS
from tests.process import free_port, wait_until
from tests.run.test_serve import Serving, serving
from tests.system.debian import Unavailable
from tests.system.slurm_cluster import SlurmCluster, install_slurm

pytestmark = pytest.mark.system

SRC = Path(__file__).parents[2] / "src"
COLUMNS = ("JobID", "JobIDRaw", "State", "Start", "End", "User", "Group", "NCPUS", "ReqMem", "NodeList")
UGLY = "a|b 'c' \"d\" \\ $(id) `id` \t é § €"


class EpilogCluster(SlurmCluster):
    """A private Slurm whose EpilogSlurmctld is the collector. What scontrol said to each epilog is kept, too."""

    def __init__(self) -> None:
        super().__init__()
        self.port = free_port()
        self.spool = self.folder / "account" / "epilog.spool"
        self.config = self.folder / "account" / "epilog.yml"
        self.said = self.folder / "account" / "said"

    def _write_configuration(self) -> None:
        super()._write_configuration()
        self.said.mkdir(parents=True)
        components = [{"name": "Cores", "key": "NumCPUs"}, {"name": "Memory", "key": "Mem"}]
        options = {
            "port": self.port,
            "deliver_seconds": 1,
            "spool": {"path": str(self.spool)},
            "components": components,
        }
        self.config.write_text(json.dumps(options))
        hook = self.folder / "account" / "epilog.sh"
        hook.write_text(
            "#!/bin/bash\n"
            f"export PATH=/usr/bin:/bin SLURM_CONF={self.environment['SLURM_CONF']} PYTHONPATH={SRC}\n"
            f"kept={self.said}/$SLURM_JOB_ID-$(date +%s%N)\n"
            "env -0 > $kept.env\n"
            "TZ=UTC scontrol --details show job $SLURM_JOB_ID > $kept.txt\n"
            f"TZ=Europe/Berlin {sys.executable} -m jobmeter collect slurm-epilog {self.config} 2>> {self.said}/log\n"
            "echo $? > $kept.status\n"
        )
        hook.chmod(0o755)
        file = self.folder / "slurm.conf"
        file.write_text(f"{file.read_text()}EpilogSlurmctld={hook}\n")

    def collect(self, *options: str) -> subprocess.CompletedProcess[str]:
        environment = {**self.environment, "PYTHONPATH": str(SRC)}
        return subprocess.run(
            [sys.executable, "-m", "jobmeter", "collect", *options],
            env=environment, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip

    def accounted(self) -> list[dict[str, str]]:
        """What sacct says of every run that ran, oldest first."""
        environment = {**self.environment, "TZ": "UTC"}
        argv = ["sacct", "-a", "-D", "-X", "-S", "2000-01-01", "-n", "-P", "--noconvert", "-o", ",".join(COLUMNS)]
        printed = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True, timeout=60).stdout
        rows = [dict(zip(COLUMNS, line.split("|"), strict=True)) for line in printed.splitlines()]
        return [row for row in rows if row["NodeList"] != "None assigned"]


@pytest.fixture(scope="module")
def cluster() -> Iterator[EpilogCluster]:
    try:
        install_slurm()
    except Unavailable as reason:
        pytest.skip(str(reason))
    private = EpilogCluster()
    try:
        private.start()
        yield private
    finally:
        if (folder := os.environ.get("JOBMETER_KEEP_SAID")) is not None:
            shutil.copytree(private.said, folder, dirs_exist_ok=True)
        private.stop()


@pytest.fixture(scope="module")
def ended(cluster: EpilogCluster) -> dict[str, str]:
    """The jobs by the way they ended, all announced by Slurm."""
    memory = ("--mem", "20M")
    jobs = {
        "timeout": cluster.submit("sleep 300\n", "-t", "0:01", *memory),
        "completed": cluster.submit("sleep 2\n", *memory, user="nobody"),
        "failed": cluster.submit("exit 7\n", "-p", "batch", *memory),
        "ugly": cluster.submit("true\n", "-J", UGLY, "--comment", UGLY, *memory),
        "array": cluster.submit("[ $SLURM_ARRAY_TASK_ID != 2 ]\n", "--array=1-3%2", *memory),
        "held": cluster.submit("true\n", "-H", *memory),
        "cancelled": cluster.submit("sleep 300\n", *memory),
        "requeued": cluster.submit("sleep 300\n", "-J", "requeued", *memory),
        "het": cluster.submit("sleep 1\n", "-n1", "--mem=30M", ":", "-n1", "--mem=20M", "-p", "batch"),
    }
    for number, spoof in enumerate(spoof for spoof in SPOOFS if len(spoof) < 1000):  # Slurm takes no longer text
        jobs[f"name {number}"] = cluster.submit("true\n", "-J", spoof, *memory)
        jobs[f"comment {number}"] = cluster.submit("true\n", "--comment", spoof, "-J", "x", *memory)
        jobs[f"network {number}"] = cluster.submit("true\n", "--network", spoof, *memory)
    cluster.run("scancel", jobs["held"])
    cluster.wait_running(jobs["cancelled"])
    cluster.run("scancel", jobs["cancelled"])
    cluster.wait_running(jobs["requeued"])
    cluster.run("scontrol", "requeue", jobs["requeued"])
    wait_until(lambda: cluster.state(jobs["requeued"]) == "PENDING", "the job waits again", 30)
    cluster.start_now(jobs["requeued"])
    cluster.run("scancel", jobs["requeued"])
    cluster.wait_idle()
    wait_until(lambda: "RUNNING" not in str(cluster.accounted()), "slurmdbd has all ends", 60)
    wait_until(lambda: len(list(cluster.said.glob("*.status"))) == len(cluster.accounted()), "all epilogs ended", 60)
    return jobs


def _spooled(cluster: EpilogCluster) -> Spool:
    return Spool(cluster.spool, SpoolSettings(), SystemClock())


def _expected(cluster: EpilogCluster, ended: dict[str, str]) -> dict[str, dict[str, Any]]:
    """What sacct says. The run that was queued again is not told by scontrol of this release, so it is left out."""
    rows = [row for row in cluster.accounted() if row["State"] != "REQUEUED"]
    assert len(rows) == len(cluster.accounted()) - 1
    return {
        f"slurm-{row['JobID']}": {
            "times": (f"{row['Start']}Z", f"{row['End']}Z"),
            "names": ([row["User"]], [row["Group"]]),
            "amounts": {"Cores": int(row["NCPUS"]), "Memory": int(row["ReqMem"].removesuffix("M"))},
        }
        for row in rows
    }


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    return {
        "times": (record["start_time"], record["stop_time"]),
        "names": (record["meta"]["user_id"], record["meta"]["group_id"]),
        "amounts": {each["name"]: each["amount"] for each in record["components"]},
    }


def _stored(server: Serving) -> dict[str, dict[str, Any]]:
    found = [json.loads(line) for line in server.get("/records").splitlines()]
    assert len(found) == len({record["record_id"] for record in found})
    return {record["record_id"]: _plain(record) for record in found}


def test_every_job_is_one_record_and_is_what_sacct_says(
    cluster: EpilogCluster, ended: dict[str, str], tmp_path: Path
) -> None:
    expected = _expected(cluster, ended)
    assert {file.read_text().strip() for file in cluster.said.glob("*.status")} == {"0"}
    assert Announcements(cluster.spool).pending() == []
    with _spooled(cluster) as spool:
        status, letters = spool.status(), spool.letters(9)
    log = (cluster.said / "log").read_text()
    assert status.entries == len(expected), log
    assert [letter.reason.partition(",")[0] for letter in letters] == ["the job was queued again"]
    with serving("serve", "--port", str(cluster.port), folder=tmp_path) as server:
        done = cluster.collect("slurm-epilog", str(cluster.config), "--once")
        assert done.returncode == 0, done.stderr
        assert _stored(server) == expected
        _sacct_collector_agrees(cluster, server, tmp_path, expected)
        _delivered_at_once(cluster, server)


def _sacct_collector_agrees(
    cluster: EpilogCluster, server: Serving, folder: Path, expected: dict[str, dict[str, Any]]
) -> None:
    """Run beside it, it makes records of the same ids: the server keeps the first, and says so of the second."""
    options = {
        "port": cluster.port, "database_path": str(folder / "state.db"), "job_filter": {"status": []},
        "earliest_datetime": "2000-01-01T00:00:00Z", "slice_seconds": 100 * 365 * 86400, "settle_seconds": 1,
        "sites": [{"name": "none"}],
    }  # fmt: skip
    config = folder / "sacct.yml"
    config.write_text(json.dumps(options))

    def all_read() -> bool:
        done = cluster.collect("slurm", str(config), "--once")
        assert done.returncode == 0, done.stderr
        return len(_stored(server)) > len(expected)

    # Of a run that is requeued, slurmdbd may never learn that its last step has ended. The run is taken without, five
    # minutes after its own end.
    wait_until(all_read, "sacct tells of the requeued run", 400)
    stored = _stored(server)
    assert {name: stored[name] for name in expected} == expected
    (requeued,) = set(stored) - set(expected)
    assert requeued.count("-") == 2
    with Spool(folder / "state.db.spool", SpoolSettings(), SystemClock()) as spool:
        letters = spool.letters(1000)
    assert len(letters) == len(expected)
    assert all(letter.reason.startswith("conflict") for letter in letters)


def _delivered_at_once(cluster: EpilogCluster, server: Serving) -> None:
    job = cluster.submit("true\n", "--mem", "20M")
    wait_until(lambda: f"slurm-{job}" in server.records(), "the server has the job", 60)
    time.sleep(0.1)
