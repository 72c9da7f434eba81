"""The unified tree with its controllers, on a kernel that has them there: what a job used, controllers that come late.

A machine whose old trees have these controllers cannot show this.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobmeter.observe.cgroups import Hierarchies, hierarchies
from jobmeter.observe.host import this_host
from jobmeter.observe.jobs.finder import JobFinder
from jobmeter.observe.jobs.profile import rooted
from jobmeter.observe.kernel.cgroup import CgroupSource, Settings
from tests.observe.kernel_groups import removed

WORK = """import os, sys
kept = bytearray(40_000_000)
with open(sys.argv[1], "wb") as file:
    file.write(os.urandom(1 << 20) * 8)
    file.flush()
    os.fsync(file.fileno())
print("done", flush=True)
sys.stdin.readline()
"""
CONTROLLERS = ("cpu", "memory", "io", "pids")


@pytest.fixture
def root() -> Iterator[Path]:
    """A folder of jobs whose controllers a test gives and takes."""
    top = hierarchies(this_host()).unified
    given = Path(top or "/nowhere", "cgroup.controllers")
    if os.geteuid() != 0 or not given.exists() or not set(CONTROLLERS) <= set(given.read_text().split()):
        pytest.skip("the unified tree has no controllers here")
    above = given.with_name("cgroup.subtree_control")
    before = set(above.read_text().split())
    above.write_text(" ".join(f"+{name}" for name in CONTROLLERS))
    folder = given.with_name(f"jobmeter-test-{uuid.uuid4().hex[:8]}")
    folder.mkdir()
    yield folder
    for place in [*folder.glob("*/*/"), *folder.glob("*/"), folder]:
        removed(place)
    above.write_text(" ".join(f"-{name}" for name in CONTROLLERS if name not in before))


class Job:
    """The job `alice_7`, found and read."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "alice_7"
        trees = Hierarchies({}, str(root.parent))
        self.finder = JobFinder(this_host(), trees, [rooted(str(root), (r"_(\d+)$",), "oar")])
        self.finder.look(1)
        self.folder.mkdir()
        assert len(self.finder.look(2).begun) == 1
        self.source = CgroupSource(Settings(), this_host(), trees)
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, *argv: str) -> subprocess.Popen[str]:
        """A process that is in the job from its first instruction."""
        words = ["sh", "-c", f'echo $$ > {self.folder}/cgroup.procs && exec "$@"', "sh", *argv]
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.processes.append(process)
        return process

    def values(self) -> dict[str, int | float]:
        """What has a value now."""
        return {
            name: value
            for sample in self.source.read(time.time_ns(), self.finder.jobs)
            for name, value in zip(sample.metrics, sample.values, strict=True)
            if value is not None
        }

    def eventually(self, holds: Callable[[dict[str, int | float]], bool]) -> dict[str, int | float]:
        """The values once they are so."""
        until = time.monotonic() + 120
        while not holds(values := self.values()):
            assert time.monotonic() < until, values
            time.sleep(0.1)
        return values

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.communicate()
        self.source.close()
        self.finder.close()
        removed(self.folder)


@pytest.fixture
def job(root: Path) -> Iterator[Job]:
    made = Job(root)
    yield made
    made.close()


def _give(root: Path, *changes: str) -> None:
    (root / "cgroup.subtree_control").write_text(" ".join(changes))


def test_all_controllers_of_a_job_are_read(root: Path, job: Job, tmp_path: Path) -> None:
    _give(root, *(f"+{name}" for name in CONTROLLERS))
    process = job.start(sys.executable, "-S", "-c", WORK, str(tmp_path / "file"))
    assert process.stdout is not None
    assert process.stdout.readline() == "done\n"
    values = job.eventually(lambda found: found.get("cgroup_memory_anon", 0) > 40e6 and "cgroup_memory_peak" in found)
    assert values["cgroup_memory_peak"] >= values["cgroup_memory_current"] > 40e6
    assert values["cgroup_pids_current"] == 1
    assert values["cgroup_cpu_usage"] >= values["cgroup_cpu_user"] > 0
    assert values["cgroup_memory_faults"] > 1000
    assert values["cgroup_memory_oom_kills"] == 0
    assert {f"cgroup_pressure_{topic}_some" for topic in ("cpu", "io", "memory")} <= values.keys()
    # a disk that is no block device, such as a shared folder, is not counted
    if os.major(tmp_path.stat().st_dev):
        assert job.eventually(lambda found: found.get("cgroup_io_write_bytes", 0) >= 8 << 20)


def test_controllers_that_a_job_is_given_after_it_was_found_are_read(root: Path, job: Job) -> None:
    process = job.start("sleep", "600")
    assert {"cgroup_cpu_usage"} <= job.values().keys()
    assert "cgroup_memory_current" not in job.values()
    _give(root, "+memory")
    job.eventually(lambda found: found.get("cgroup_memory_current", 0) > 0)
    _give(root, "+pids", "+cpu", "+io")
    values = job.eventually(lambda found: found.get("cgroup_pids_current") == 1)
    assert {"cgroup_cpu_periods", "cgroup_memory_current"} <= values.keys()
    _give(root, "-memory")
    job.eventually(lambda found: "cgroup_memory_current" not in found)
    assert "cgroup_cpu_usage" in job.values()
    _give(root, "+memory")
    job.eventually(lambda found: "cgroup_memory_current" in found)
    process.kill()


def test_a_limit_of_processor_time_and_a_kill_for_want_of_memory_are_told(root: Path, job: Job) -> None:
    _give(root, "+cpu", "+memory")
    (job.folder / "cpu.max").write_text("10000 100000")
    job.start(sys.executable, "-S", "-c", "while True: pass")
    job.eventually(lambda found: found.get("cgroup_cpu_throttled_periods", 0) > 0 and found["cgroup_cpu_throttled"] > 0)
    job.processes[0].kill()
    (job.folder / "memory.max").write_text("30000000")
    if (swap := job.folder / "memory.swap.max").exists():
        swap.write_text("0")
    job.start(sys.executable, "-S", "-c", "kept = bytearray(200_000_000)").wait()
    assert job.eventually(lambda found: found.get("cgroup_memory_oom_kills", 0) >= 1)
