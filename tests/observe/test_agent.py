"""The node's loop over the real kernel: what jobs used is told, however short their processes and themselves are."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest
from msgspec import structs

from jobmeter.contract import Reading, SourceUnreadable
from jobmeter.model.job import JobIdentity, RunningJob
from jobmeter.model.metric import Metric
from jobmeter.model.sample import Sample
from jobmeter.observe.agent import Agent, Scheduled
from jobmeter.observe.ceiling import Ceiling
from jobmeter.observe.cgroups import Hierarchies
from jobmeter.observe.closing import Known, LastValues, completed
from jobmeter.observe.host import this_host
from jobmeter.observe.jobs.finder import JobFinder
from jobmeter.observe.jobs.profile import rooted
from jobmeter.observe.kernel import cgroup, jobproc, taskstats
from jobmeter.run.agent.loop import Signals, loop
from jobmeter.settings.deployment import Metrics
from tests.observe.kept_batches import KeptBatches
from tests.observe.kernel_groups import BURN, Groups, groups, removed
from tests.process import eventually

__all__ = ["groups"]

JOB = JobIdentity("oar", "", "7")


class Kept(KeptBatches):
    """Finds values of the job in what it was given."""

    def last(self, source: str, metric: str) -> int | float | None:
        """The last value of a metric of the job."""
        found = [
            sample.values[sample.metrics.index(metric)]
            for batch in self.batches
            for sample in batch.samples
            if sample.source == source and sample.job == JOB and metric in sample.metrics
        ]
        return found[-1] if found else None


def _agent(groups: Groups, sender: Kept, period_seconds: float) -> Agent:
    finder = JobFinder(groups.host, groups.trees, [rooted(str(groups.root), (r"_(\d+)$",), "oar")])
    period = int(period_seconds * 1e9)
    sources = [
        Scheduled("cgroup", cgroup.open_source(cgroup.Settings(), groups.host), period),
        Scheduled("taskstats", taskstats.open_source(taskstats.Settings(), groups.host), period),
        Scheduled("jobproc", jobproc.open_source(jobproc.Settings(), groups.host), period),
    ]
    return Agent("n1", finder, sources, sender, ceiling=Ceiling(1000))


TELL = "with open(sys.argv[2], 'a') as told:\n    told.write(f'{time.process_time_ns()}\\n')\n"
"""What follows on BURN: the process itself says what it has used."""


def _waited_ns() -> int:
    """How long this thread has waited for a processor."""
    return int(Path("/proc/thread-self/schedstat").read_text().split()[1])


def _one(seconds: float, told: Path) -> list[str]:
    return [sys.executable, "-S", "-c", BURN + TELL, str(seconds), str(told)]


def _stream(count: int, seconds: float, told: Path) -> list[str]:
    code = "import subprocess, sys\nfor _ in range(int(sys.argv[1])):\n    subprocess.run(sys.argv[2:], check=True)\n"
    return [sys.executable, "-S", "-c", code, str(count), *_one(seconds, told)]


@pytest.mark.parametrize(
    ("shape", "period_seconds"),
    [
        (partial(_one, 2.0), 1.0),
        (partial(_one, 2.0), 5.0),
        (partial(_stream, 25, 0.03), 1.0),
        (partial(_stream, 25, 0.03), 5.0),
        (partial(_stream, 3, 0.6), 5.0),
    ],
    ids=["steady-1s", "steady-5s", "short-processes-1s", "short-processes-5s", "longer-processes-5s"],
)
def test_a_jobs_processor_time_is_known_to_the_end(
    groups: Groups, tmp_path: Path, shape: Callable[[Path], list[str]], period_seconds: float
) -> None:
    sender = Kept()
    agent = _agent(groups, sender, period_seconds)
    signals = Signals()
    waited_ns = _waited_ns()
    agent.turn()
    groups.make("alice_7")
    # What ends before anybody has looked belongs to its parent's job: the parent is seen before it goes on.
    process = groups.start("alice_7", shape(tmp_path / "told"), lambda: agent.turn(everything=True))
    true: list[int] = []

    def batch_system() -> None:
        try:
            process.wait()
            true.append(groups.used_ns("alice_7"))
            groups.remove("alice_7")
            eventually(lambda: any(batch.ends for batch in sender.batches))
        finally:
            signals.stop = True

    watcher = threading.Thread(target=batch_system)
    watcher.start()
    with signals.installed():
        loop(agent, signals, Metrics())
    watcher.join()
    agent.close()
    told = sender.last("cgroup", "cgroup_cpu_usage")
    assert told is not None
    # What the kernel does for a task after it told its end is missing where the folder goes at the same moment, more of
    # it on a busy machine; so is what they did while the agent waited for a processor between two of its readings. All
    # else that the processes themselves say that they used is there.
    used = sum(map(int, (tmp_path / "told").read_text().split()))
    assert 0.99 * used - 50e6 - (_waited_ns() - waited_ns) <= told <= 1.01 * true[0]
    assert [end.job for batch in sender.batches for end in batch.ends] == [JOB]
    tasks = sender.last("taskstats", "taskstats_cpu_run_virtual_total")
    assert tasks is not None
    assert 0.99 * used <= tasks <= 1.02 * true[0]


def test_a_process_of_nine_threads_counts_once(groups: Groups) -> None:
    code = (
        "import threading, time\nkept = bytearray(60_000_000)\n"
        "[threading.Thread(target=time.sleep, args=(60,), daemon=True).start() for _ in range(8)]\ntime.sleep(60)\n"
    )
    sender = Kept()
    agent = _agent(groups, sender, 1.0)
    groups.make("alice_7")
    process = groups.start("alice_7", [sys.executable, "-S", "-c", code])

    def has_all_its_memory() -> bool:
        agent.turn(everything=True)
        return (sender.last("jobproc", "jobproc_vmrss") or 0) >= 55_000

    eventually(has_all_its_memory)
    rss = sender.last("jobproc", "jobproc_vmrss")
    process.kill()
    process.wait()
    agent.close()
    assert rss is not None
    assert 55_000 < rss < 120_000
    assert sender.last("jobproc", "jobproc_processes") == 1


class Broken:
    """A source that can and cannot be read, as told."""

    metrics: tuple[Metric, ...] = ()

    def __init__(self) -> None:
        self.broken = True
        self.silent = False
        self.seen: list[Reading] = []

    def read(
        self,
        now_ns: int,
        jobs: Sequence[RunningJob],  # noqa: ARG002
        reading: Reading = Reading.ALL,
    ) -> Iterator[Sample]:
        self.seen.append(reading)
        if self.broken:
            raise SourceUnreadable("no right")
        if self.silent:
            return
        yield Sample("broken", "n1", None, now_ns, (), ())

    def close(self) -> None:
        return None


def test_a_source_that_cannot_be_read_is_said_once_and_hinders_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "jobmeter.observe")
    bad, good = Broken(), Broken()
    good.broken = False
    sender = Kept()
    finder = JobFinder(this_host(), Hierarchies({}, str(tmp_path)), [])
    schedule = [Scheduled("bad", bad, 10**9), Scheduled("good", good, 10**9)]
    agent = Agent("n1", finder, schedule, sender, ceiling=Ceiling(1000))
    for _ in range(3):
        agent.turn(everything=True)
    bad.broken, bad.silent = False, True  # nothing was read, as by a source of jobs while there is none
    agent.turn(everything=True)
    bad.broken, bad.silent = True, False
    agent.turn(everything=True)
    bad.broken = False
    agent.turn(everything=True)
    agent.close()
    said = [record.message for record in caplog.records]
    assert [line.split()[0] for line in said] == ["node.source_unreadable", "node.source_readable"]
    assert all(any(sample.source == "broken" for sample in batch.samples) for batch in sender.batches)
    assert schedule[0].faults == 4


def test_instants_are_multiples_of_the_period_since_1970(tmp_path: Path) -> None:
    now = [1_000_000_000_123]
    source = Broken()
    source.broken = False
    finder = JobFinder(this_host(), Hierarchies({}, str(tmp_path)), [])
    schedule = [Scheduled("a", source, 5_000), Scheduled("b", source, 7_000)]
    agent = Agent("n1", finder, schedule, Kept(), ceiling=Ceiling(1000), clock_ns=lambda: now[0])
    agent.turn()
    assert [each.next_ns % each.period_ns for each in schedule] == [0, 0]
    assert all(now[0] < each.next_ns <= now[0] + each.period_ns for each in schedule)
    reads = schedule[1].reads
    now[0] = schedule[0].next_ns
    agent.turn()
    assert schedule[0].reads == 2
    assert schedule[1].reads == (reads + 1 if schedule[1].next_ns > now[0] + 7_000 else schedule[1].reads)
    agent.close()


@pytest.mark.parametrize("jump_ns", [-3_600_000_000_000, 3_600_000_000_000, -40])
def test_a_clock_that_jumps_neither_stalls_the_reading_nor_repeats_it(tmp_path: Path, jump_ns: int) -> None:
    now = [7_200_000_000_000]
    source = Broken()
    source.broken = False
    finder = JobFinder(this_host(), Hierarchies({}, str(tmp_path)), [])
    schedule = [Scheduled("a", source, 5_000)]
    agent = Agent("n1", finder, schedule, Kept(), ceiling=Ceiling(1000), clock_ns=lambda: now[0])
    agent.turn()
    now[0] += jump_ns
    for _ in range(3):
        assert agent.next_ns() <= now[0] + 5_000
        now[0] = max(now[0], agent.next_ns())
        agent.turn()
    assert schedule[0].reads == 4
    agent.turn()
    assert schedule[0].reads == 4
    agent.close()


def test_over_its_ceiling_the_agent_reads_less_often_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "jobmeter.observe")
    used = [0]
    ceiling = Ceiling(1.0, window_ns=1000, used_ns=lambda: used[0])
    ceiling.judge(0)
    used[0] = 50
    ceiling.judge(1000)
    assert ceiling.stretch == 2
    used[0] = 130
    ceiling.judge(2000)
    assert ceiling.stretch == 4
    ceiling.judge(2500)
    used[0] = 131
    ceiling.judge(3000)
    assert ceiling.stretch == 2
    assert [record.message.split()[0] for record in caplog.records] == [
        "node.over_budget",
        "node.over_budget",
        "node.within_budget",
    ]


def _sample(source: str, metric: str, value: int, since_ns: int | None = 5) -> Sample:
    return Sample(source, "n1", JOB, 10, (metric,), (value,), since_ns=since_ns)


def test_what_the_tasks_used_since_completes_the_last_reading_of_the_group() -> None:
    group = _sample("cgroup", "cgroup_cpu_usage", 1000)
    then = _sample("taskstats", "taskstats_cpu_run_virtual_total", 900)
    end = _sample("taskstats", "taskstats_cpu_run_virtual_total", 1150)
    last = completed(Known(group, group, then), end, 99)
    assert [(sample.values, sample.time_ns) for sample in last] == [((1250,), 99)]
    newer = _sample("cgroup", "cgroup_cpu_usage", 1300)
    assert completed(Known(newer, group, then), end, 99)[0].values == (1300,)
    assert completed(Known(), end, 99)[0].values == (1150,)
    assert completed(Known(group), end, 99) == []
    assert completed(Known(group, group, then), None, 99) == []
    uncounted = _sample("cgroup", "cgroup_memory_current", 1)
    assert completed(Known(uncounted), end, 99)[0].values == (1150,)
    unknown = _sample("taskstats", "taskstats_cpu_run_virtual_total", 1150, None)
    assert completed(Known(), unknown, 99) == []


def test_tasks_that_were_read_when_the_group_was_gone_do_not_complete_it() -> None:
    values = LastValues()
    values.keep([_sample("cgroup", "cgroup_cpu_usage", 1000)])
    values.keep([_sample("taskstats", "taskstats_cpu_run_virtual_total", 900)])
    end = structs.replace(_sample("taskstats", "taskstats_cpu_run_virtual_total", 1150), time_ns=20)
    values.keep([end])
    assert values.closed(JOB, [end], 99)[1].values == (1250,)


def test_a_job_is_read_as_if_for_the_first_time_whether_it_did_something_or_not(groups: Groups, tmp_path: Path) -> None:
    code = (
        "import sys\nkept = []\nsaid = open(sys.argv[2], 'wb', buffering=0)\n"
        "for line in open(sys.argv[1], 'rb', buffering=0):\n    kept.append(b'x' * int(line))\n    said.write(b'.')\n"
    )
    for name in ("told", "said"):
        os.mkfifo(tmp_path / name)
    groups.make("alice_7")
    process = groups.start(
        "alice_7", [sys.executable, "-S", "-c", code, *(str(tmp_path / x) for x in ("told", "said"))]
    )
    finder = JobFinder(groups.host, groups.trees, [rooted(str(groups.root), (r"_(\d+)$",), "oar")])
    finder.look(time.time_ns())
    kept = cgroup.open_source(cgroup.Settings(), groups.host)
    seen = set()

    def afresh(now_ns: int) -> Sample:
        source = cgroup.open_source(cgroup.Settings(), groups.host)
        try:
            return next(iter(source.read(now_ns, finder.jobs)))
        finally:
            source.close()

    with (tmp_path / "said").open("rb", buffering=0) as said, (tmp_path / "told").open("wb", buffering=0) as told:
        for number, size in enumerate((30_000_000, None, None, 1, 20_000_000)):
            if size is not None:
                told.write(b"%d\n" % size)
                said.read(1)
                time.sleep(0.1)
            elif number == 1:
                time.sleep(2.5)  # by then the kernel has added all up
            now_ns = 10_000_000_000 * number
            before, found, after = afresh(now_ns), next(iter(kept.read(now_ns, finder.jobs))), afresh(now_ns)
            while before != after:  # the kernel adds up when it likes to
                before, found, after = afresh(now_ns), next(iter(kept.read(now_ns, finder.jobs))), afresh(now_ns)
            assert found == before
            seen.add(found.values)
    process.wait()
    kept.close()
    finder.close()
    assert len(seen) >= 3


def test_a_job_is_read_to_its_end_though_one_of_its_folders_goes_sooner(groups: Groups) -> None:
    if "memory" not in groups.roots:
        pytest.skip("all of a job is in one tree here")
    groups.make("alice_7")
    finder = JobFinder(groups.host, groups.trees, [rooted(str(groups.root), (r"_(\d+)$",), "oar")])
    finder.look(time.time_ns())
    source = cgroup.open_source(cgroup.Settings(), groups.host)

    def known() -> dict[str, object]:
        return {
            name: value
            for sample in source.read(time.time_ns(), finder.jobs)
            for name, value in zip(sample.metrics, sample.values, strict=True)
            if value is not None
        }

    assert {"cgroup_cpu_usage", "cgroup_memory_current"} <= known().keys()
    removed(groups.roots["memory"] / "alice_7")
    assert "cgroup_memory_current" not in known()
    assert "cgroup_cpu_usage" in known()
    groups.remove("alice_7")
    assert known() == {}
    source.close()
    finder.close()
