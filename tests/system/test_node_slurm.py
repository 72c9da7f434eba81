"""The node agent beside a real Slurm that keeps its jobs in control groups, in either version of them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.observe.kernel_groups import BURN, removed
from tests.system.debian import Unavailable
from tests.system.slurm_cluster import SlurmCluster, install_slurm

pytestmark = pytest.mark.system

UNIFIED = Path("/sys/fs/cgroup/unified")


class TrackedCluster(SlurmCluster):
    """A Slurm that keeps its jobs in control groups, with these settings over the usual ones."""

    def __init__(self, settings: Mapping[str, str], groups: str) -> None:
        super().__init__()
        self._settings = settings
        self._groups = groups

    def _write_configuration(self) -> None:
        super()._write_configuration()
        file = self.folder / "slurm.conf"
        lines = [line for line in file.read_text().splitlines() if line.partition("=")[0] not in self._settings]
        file.write_text("\n".join([*lines, *(f"{key}={value}" for key, value in self._settings.items())]) + "\n")
        (self.folder / "cgroup.conf").write_text(self._groups)


def old() -> TrackedCluster:
    """In the old trees."""
    if not Path("/sys/fs/cgroup/cpuacct/cpuacct.usage").exists():
        pytest.skip("this machine has no control groups of version 1")
    settings = {
        "ProctrackType": "proctrack/cgroup",
        "TaskPlugin": "task/cgroup",
        "JobAcctGatherType": "jobacct_gather/cgroup",
    }
    return TrackedCluster(settings, "CgroupPlugin=cgroup/v1\nCgroupMountpoint=/sys/fs/cgroup\nConstrainRAMSpace=yes\n")


class UnifiedCluster(TrackedCluster):
    """A Slurm in the unified tree, also where that stands beside the old ones."""

    def __init__(self, root: Path) -> None:
        super().__init__(
            {"ProctrackType": "proctrack/cgroup"},
            f"CgroupPlugin=cgroup/v2\nCgroupMountpoint={root}\nIgnoreSystemd=yes\n",
        )
        self._slice = root / "system.slice"
        self._is_ours = not self._slice.exists()
        source, library = Path(__file__).with_name("only_unified.c"), self.folder / "only_unified.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
        self.slurmd = ("env", f"LD_PRELOAD={library}", *self.slurmd)

    def start(self) -> None:
        self._slice.mkdir(exist_ok=True)
        super().start()

    def stop(self) -> None:
        super().stop()
        scopes = list(self._slice.glob("n[12]_slurmstepd.scope"))
        every = [folder for scope in scopes for folder in (scope, *scope.rglob("*")) if folder.is_dir()]
        for folder in [*sorted(every, reverse=True), *([self._slice] if self._is_ours else [])]:
            removed(folder)


def unified() -> TrackedCluster:
    """In the unified tree."""
    root = next((path for path in (UNIFIED, UNIFIED.parent) if (path / "cgroup.controllers").exists()), None)
    if root is None or shutil.which("cc") is None:
        pytest.skip("this machine has no control groups of version 2, or no compiler")
    return UnifiedCluster(root)


@pytest.fixture(scope="module", params=[old, unified], ids=["version-1", "version-2"])
def tracked(request: pytest.FixtureRequest) -> Iterator[SlurmCluster]:
    """The cluster, running."""
    try:
        install_slurm()
    except Unavailable as reason:
        pytest.skip(str(reason))
    cluster: SlurmCluster = request.param()
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
