"""Processes that do nothing are not read again, and what those did that worked or ended is counted all the same."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from jobmeter.contract import Reading
from jobmeter.model.job import JobIdentity, RunningJob
from jobmeter.observe.kernel.jobproc import JobprocSource, Row
from tests.observe.kernel_groups import Groups, groups

__all__ = ["groups"]

SECOND = 1_000_000_000
READER = (
    "import sys\nfor line in sys.stdin:\n    data = open('/dev/zero', 'rb', buffering=0).read(int(line))\n"
    "    print(len(data), flush=True)\n"
)


class Counting(JobprocSource):
    """Counts how many processes are read."""

    asked = 0

    def _io(self, pid: int) -> Row | None:
        self.asked += 1
        return super()._io(pid)


class Read:
    """Reads one job, by its group or by the processes that a person named."""

    def __init__(self, groups: Groups, job: RunningJob) -> None:
        self.source = Counting(groups.host, groups.trees)
        self.job = job
        self.now_ns = 0

    def __call__(self, reading: Reading = Reading.ALL, seconds: int = 1) -> dict[str, int | float | None]:
        self.now_ns += seconds * SECOND
        (sample,) = self.source.read(self.now_ns, [self.job], reading)
        return dict(zip(sample.metrics, sample.values, strict=True))


def _worker() -> tuple[subprocess.Popen[str], Callable[[int], None]]:
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", READER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def work(count: int) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{count}\n")
        process.stdin.flush()
        assert int(process.stdout.readline()) == count

    work(1)
    return process, work


def _resting(read: Read) -> dict[str, int | float | None]:
    """What is said once the processes rest: a line that was answered was not the last that a process did."""
    while True:
        asked = read.source.asked
        values = read(seconds=0)
        if read.source.asked == asked:
            return values
        time.sleep(0.05)


def test_of_a_job_that_rests_no_process_is_read_and_of_one_that_works_only_that(groups: Groups) -> None:
    groups.make("alice_7")
    sleepers = [groups.start("alice_7", ["sleep", "60"]) for _ in range(5)]
    process, work = _worker()
    Path(groups.root, "alice_7", "cgroup.procs").write_text(str(process.pid))
    read = Read(
        groups, RunningJob(JobIdentity("oar", "", "7"), dict.fromkeys(groups.roots, f"{groups.name}/alice_7"), 1)
    )
    before = _resting(read)
    assert before["jobproc_processes"] == 6
    asked = read.source.asked
    work(1_000_000)
    after = _resting(read)
    assert after["jobproc_rchar"] - before["jobproc_rchar"] >= 1_000_000  # type: ignore[operator]
    assert read.source.asked - asked < 6
    asked = read.source.asked
    read(seconds=60)
    assert read.source.asked - asked == 6  # now and then all are: memory may be taken from who sleeps
    process.kill()
    process.communicate()
    gone = read(seconds=60)
    assert gone["jobproc_processes"] == 5
    assert gone["jobproc_rchar"] == after["jobproc_rchar"]
    for sleeper in sleepers:
        sleeper.kill()
        sleeper.wait()
    assert read(Reading.LAST)["jobproc_rchar"] == after["jobproc_rchar"]
    read.source.close()


def test_a_process_that_a_person_named_is_read_when_it_did_something(groups: Groups) -> None:
    process, work = _worker()
    read = Read(groups, RunningJob(JobIdentity("process", "", "x"), {}, 1, processes=(process.pid,)))
    before = _resting(read)
    work(1_000_000)
    assert _resting(read)["jobproc_rchar"] - before["jobproc_rchar"] >= 1_000_000  # type: ignore[operator]
    process.kill()
    process.communicate()
    read.source.close()
