"""The node agent beside a real Slurm that keeps its jobs in control groups, version 1."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.observe.kernel_groups import BURN
from tests.system.debian import Unavailable
from tests.system.slurm_cluster import SlurmCluster, install_slurm

pytestmark = pytest.mark.system

_TRACKED = {
    "ProctrackType": "proctrack/cgroup",
    "TaskPlugin": "task/cgroup",
    "JobAcctGatherType": "jobacct_gather/cgroup",
}


class TrackedCluster(SlurmCluster):
    """A Slurm that keeps its jobs in control groups."""

    def _write_configuration(self) -> None:
        super()._write_configuration()
        file = self.folder / "slurm.conf"
        lines = [line for line in file.read_text().splitlines() if line.partition("=")[0] not in _TRACKED]
        file.write_text("\n".join([*lines, *(f"{key}={value}" for key, value in _TRACKED.items())]) + "\n")
        (self.folder / "cgroup.conf").write_text(
            "CgroupPlugin=cgroup/v1\nCgroupMountpoint=/sys/fs/cgroup\nConstrainRAMSpace=yes\n"
        )


@pytest.fixture(scope="module")
def tracked() -> Iterator[SlurmCluster]:
    """The cluster, on a machine with the old trees."""
    if not Path("/sys/fs/cgroup/cpuacct/cpuacct.usage").exists():
        pytest.skip("this machine has no control groups of version 1")
    try:
        install_slurm()
    except Unavailable as reason:
        pytest.skip(str(reason))
    cluster = TrackedCluster()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


def test_the_jobs_of_slurm_are_found_measured_and_ended(tracked: SlurmCluster, tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out:
        node = subprocess.Popen(
            [sys.executable, "-m", "jobmeter", "node", "--print", "-s", "1"], stdout=out, stderr=subprocess.DEVNULL
        )
    burn = tmp_path / "burn.py"
    burn.write_text(BURN)
    tmp_path.chmod(0o755)
    command = f"{sys.executable} -S {burn}"
    try:
        time.sleep(2)
        jobs = {
            tracked.submit(f"#!/bin/sh\n{command} 3\n"): 3.0,
            tracked.submit(f"#!/bin/sh\nfor i in $(seq 40); do {command} 0.05; done\n"): 2.0,
        }
        tracked.wait_idle(120)
        time.sleep(3)
    finally:
        node.terminate()
        node.wait()
    lines = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    for job, seconds in jobs.items():
        used = _last(lines, job)
        assert used >= 0.99 * seconds
    assert {line["ended"]["job"] for line in lines if "ended" in line} >= set(jobs)


def _last(lines: list[dict[str, Any]], job: str) -> float:
    values = [
        line["values"]["cgroup_cpu_usage"]
        for line in lines
        if line.get("job") and line["job"]["job"] == job and "cgroup_cpu_usage" in line["values"]
    ]
    return float(values[-1]) / 1e9 if values else 0.0
