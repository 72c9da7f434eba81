"""The node agent beside a real HTCondor that keeps its slots in control groups, version 1."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process import wait_until
from tests.system.debian import Unavailable
from tests.system.htcondor_pool import HtcondorPool
from tests.system.watched_node import watching

pytestmark = pytest.mark.system

_TREES = Path("/sys/fs/cgroup")
_LINK = _TREES / "cpu,cpuacct"


class TrackedPool(HtcondorPool):
    """A pool whose slots are control groups below a folder of its own."""

    base_cgroup = "htcondor"


@pytest.fixture(scope="module")
def tracked() -> Iterator[TrackedPool]:
    """The pool, on a machine with the old trees."""
    if not (_TREES / "cpuacct" / "cpuacct.usage").exists():
        pytest.skip("this machine has no control groups of version 1")
    try:
        pool = TrackedPool()
    except Unavailable as reason:
        pytest.skip(str(reason))
    made = not _LINK.exists()
    if made:  # HTCondor looks for the two in one folder; where they are mounted apart it finds none
        _LINK.symlink_to("cpuacct")
    try:
        pool.start()
        yield pool
    finally:
        pool.stop()
        if made:
            _LINK.unlink()
        _remove_folders()


def _remove_folders() -> None:
    for base in _TREES.glob(f"*/{TrackedPool.base_cgroup}"):
        for place, _, _ in os.walk(base, topdown=False):
            with contextlib.suppress(OSError):
                Path(place).rmdir()


def _burning(file: Path, rounds: int) -> list[str]:
    """A job that uses processor time and writes down how much."""
    burn = f"i=0; while [ $i -lt {rounds} ]; do i=$((i+1)); done; times > {file}"
    return ["executable = /bin/sh", f"arguments = \"-c '{burn}'\""]


def _used(file: Path) -> float:
    """What the shell said that it has used."""
    own = file.read_text().splitlines()[0]
    return sum(60 * int(minutes) + float(seconds) for minutes, seconds in re.findall(r"(\d+)m([\d.]+)s", own))


def test_the_jobs_of_htcondor_are_found_in_their_slots_and_measured(tracked: TrackedPool, tmp_path: Path) -> None:
    files = [tracked.folder / "jobs" / f"times-{number}" for number in range(3)]
    with watching(tmp_path) as node:
        time.sleep(2)
        jobs = []
        for file in files:  # one after the other: they get the same slot
            jobs.append(f"{tracked.submit(_burning(file, 1_500_000))}.0")
            wait_until(file.exists, "the job has ended", 120)
        wait_until(lambda: set(node.ended()) >= set(jobs), "the ends are told", 30)
    for job, file in zip(jobs, files, strict=True):
        assert node.seconds(job) >= 0.99 * _used(file) > 0.5
        assert [name.partition("@")[0] for name in node.clusters(job)] == ["first"]
    assert [job for job in node.ended() if job in jobs] == jobs
