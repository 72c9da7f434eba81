"""The node agent beside a real OAR 2.5 that keeps its jobs in control groups, version 1."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgresql import PrivatePostgresql
from tests.process import wait_until
from tests.system.debian import Unavailable
from tests.system.oar_cluster import USERS, OarCluster, install_oar
from tests.system.watched_node import burning, used_seconds, watching

pytestmark = pytest.mark.system

_TREES = Path("/sys/fs/cgroup")
_MANAGERS = (Path("/etc/oar/job_resource_manager_cgroups.pl"), Path("/etc/oar/job_resource_manager.pl"))
_LEFT = (Path("/dev/oar_cgroups_links"), Path("/dev/cpuset"))


class TrackedCluster(OarCluster):
    """An OAR that keeps its jobs in control groups, also of memory."""

    more = (
        'JOB_RESOURCE_MANAGER_FILE="{folder}/job_resource_manager.pl"\n'
        'JOB_RESOURCE_MANAGER_PROPERTY_DB_FIELD="cpuset"\nCPUSET_PATH="/oar"\n'
    )

    def _write_configuration(self) -> None:
        super()._write_configuration()
        own = next(file for file in _MANAGERS if file.exists()).read_text()
        # at the end of a user's last job it removes what he has in /tmp: not here
        own = own.replace('$Enable_mem_cg = "NO"', '$Enable_mem_cg = "YES"')
        lines = [
            "my @Tmp_dir_to_clear = ();" if line.startswith("my @Tmp_dir_to_clear") else line
            for line in own.splitlines()
        ]
        (self.folder / "job_resource_manager.pl").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def tracked(postgresql: PrivatePostgresql) -> Iterator[OarCluster]:
    """The cluster, on a machine with the old trees."""
    if not (_TREES / "cpuacct" / "cpuacct.usage").exists():
        pytest.skip("this machine has no control groups of version 1")
    try:
        install_oar()
    except Unavailable as reason:
        pytest.skip(str(reason))
    there = {path for path in _LEFT if path.exists()}
    cluster = TrackedCluster(postgresql)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        _clean(there)


def _clean(there: set[Path]) -> None:
    for base in _TREES.glob("*/oar"):
        for place, _, _ in os.walk(base, topdown=False):
            with contextlib.suppress(OSError):
                Path(place).rmdir()
    for path in set(_LEFT) - there:
        if path.is_symlink():
            path.unlink()
        else:
            shutil.rmtree(path, ignore_errors=True)


def test_the_jobs_of_oar_are_found_measured_and_ended(tracked: OarCluster, tmp_path: Path) -> None:
    files = {user: tracked.folder / user / "times" for user in USERS}
    with watching(tmp_path) as node:
        time.sleep(2)
        jobs = {tracked.submit(user=user, script=burning(600_000, file))[0]: file for user, file in files.items()}
        for job in jobs:
            tracked.wait(job, "Terminated")
        wait_until(lambda: set(node.ended()) >= set(jobs), "the ends are told", 30)
    for job, file in jobs.items():
        assert node.seconds(job) >= 0.99 * used_seconds(file) > 0.5
