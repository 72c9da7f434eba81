"""Measures one command with the agent's own loop and sources, from its start to its end."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from jobmeter import registry
from jobmeter.contract import SampleSource, SourceAbsent, SourceUnreadable
from jobmeter.model.job import JobIdentity
from jobmeter.model.sample import JobEnd, SampleBatch
from jobmeter.model.summary import EnergySource, JobSummary
from jobmeter.model.summing import Summing, is_counted
from jobmeter.observe.agent import Agent, Scheduled
from jobmeter.observe.ceiling import Ceiling
from jobmeter.observe.host import Host
from jobmeter.observe.runs.child import Child, Used
from jobmeter.observe.runs.group import OwnGroup
from jobmeter.observe.runs.onejob import OneJob

WITH_GROUP = ("cgroup", "jobproc", "commands")
WITHOUT_GROUP = ("jobproc", "taskstats", "commands")
_OWN = {"commands": {"runs": True}}
"""What is set of a source where it is not as agents have it."""
_PERIOD_NS = 1_000_000_000
_UNLIMITED = 100_000.0
_TICKS_IDLE = (3, 4)


class Taker(Protocol):
    """Where batches go while the command runs. Never raises."""

    def take(self, batch: SampleBatch) -> None:
        """One more batch of the job."""
        ...

    @property
    def apart(self) -> set[int]:
        """The processes that it has started."""
        ...


class Energy(Struct, frozen=True):
    """Joules of the whole machine's processors and memory, and the part by the job's share of processor time."""

    machine_joules: float
    job_joules: float | None


class Outcome(Struct, frozen=True, kw_only=True):
    """How it went. Times are nanoseconds since 1970 and seconds; `left` processes were still there at the end."""

    identity: JobIdentity
    node: str
    began_ns: int
    ended_ns: int
    wall_seconds: float
    cores: int
    status: int
    signal: int | None
    used: Used
    summary: JobSummary | None
    energy: Energy | None
    grouped: bool
    left: int


class Measuring:
    """A command that runs. `outcome` measures until it has ended."""

    def __init__(self, host: Host, identity: JobIdentity, child: Child, group: OwnGroup | None, began_ns: int) -> None:
        self.apart: set[int] = set()
        """Processes that we start beside the command; they are no part of it."""
        self._host = host
        self._identity = identity
        self._child = child
        self._group = group
        self._began_ns = began_ns
        self._summing = Summing()
        self._taker: Taker | None = None
        self._summary: JobSummary | None = None
        finder = OneJob(identity, began_ns, group, child.pid, os.getpid(), str(host.path("/proc")), self.apart)
        sources = _opened(host, WITHOUT_GROUP if group is None else WITH_GROUP)
        self._agent = Agent(host.name, finder, sources, self, ceiling=Ceiling(_UNLIMITED))
        self._meters = _Meters(host)

    def outcome(self, taker: Taker | None) -> Outcome:
        """Wait for the end, measuring meanwhile."""
        self._taker = taker
        self._agent.turn()
        while not self._child.wait(max(0.0, (self._agent.next_ns() - time.time_ns()) / 1e9)):
            self._agent.turn()
        wall = (self._child.ended or time.monotonic()) - self._child.began
        ended_ns = self._began_ns + int(wall * 1e9)
        self._agent.finish()
        self.offer(SampleBatch(self._host.name, (), (), (JobEnd(self._identity, self._host.name, ended_ns),)))
        self._agent.close()
        left = len(self._remaining())
        assert self._child.status is not None  # noqa: S101 - `wait` said that it has ended
        assert self._child.used is not None  # noqa: S101
        energy = self._meters.energy(self._busy_seconds())
        return Outcome(
            identity=self._identity,
            node=self._host.name,
            began_ns=self._began_ns,
            ended_ns=ended_ns,
            wall_seconds=wall,
            cores=len(os.sched_getaffinity(0)),
            status=self._child.status,
            signal=self._child.signal,
            used=self._child.used,
            summary=self._summary_with(energy),
            energy=energy,
            grouped=self._group is not None,
            left=left,
        )

    def offer(self, batch: SampleBatch) -> None:
        """Take a batch of the agent: what is about the job, without what is about the machine or the agent."""
        samples = tuple(sample for sample in batch.samples if sample.job is not None)
        names = {name for sample in samples for name in sample.metrics}
        metrics = tuple(metric for metric in batch.metrics if metric.name in names)
        own = SampleBatch(batch.node, samples, metrics, batch.ends)
        done = self._summing.add(own)
        if done:
            self._summary = done[-1]
        if self._taker is not None and (samples or own.ends):
            self._taker.take(own)
            self.apart |= self._taker.apart

    def counts(self) -> Mapping[str, int]:
        """Nothing is counted here."""
        return {}

    def close(self, linger_seconds: float) -> None:
        """Nothing is kept open."""

    def _remaining(self) -> set[int]:
        """The processes of the job that have not ended."""
        if self._group is not None:
            return self._group.processes()
        finder = self._agent.finder
        finder.look(time.time_ns())
        return {pid for job in finder.jobs for pid in job.processes} - {self._child.pid}

    def _busy_seconds(self) -> float:
        metric = None if self._summary is None else self._summary.metric("cgroup_cpu_usage")
        used = self._child.used
        if metric is not None and metric.total is not None:
            return metric.total / 1e9
        return 0.0 if used is None else used.user_seconds + used.system_seconds

    def _summary_with(self, energy: Energy | None) -> JobSummary | None:
        """The summary with our share of the machine's energy: others may have been on it, so it is an estimate."""
        if self._summary is None or energy is None or energy.job_joules is None:
            return self._summary
        return replace(self._summary, joules=energy.job_joules, energy=EnergySource.ESTIMATED)


class _Meters:
    """The energy meters at the start, to be compared with those at the end."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._source: SampleSource | None = None
        with contextlib.suppress(SourceAbsent, SourceUnreadable, OSError):
            module = registry.module("observe.kernel", "rapl")
            self._source = module.open_source(module.Settings(), host)
        self._before = self._joules()
        self._busy = busy_seconds(self._stat())

    def energy(self, job_seconds: float) -> Energy | None:
        """What was used since, None where nobody may or can read a meter."""
        after, busy = self._joules(), busy_seconds(self._stat())
        if self._source is not None:
            self._source.close()
        if self._before is None or after is None:
            return None
        joules = max(0.0, after - self._before)
        everybody = None if busy is None or self._busy is None else busy - self._busy
        return Energy(joules, shared(joules, job_seconds, everybody))

    def _joules(self) -> float | None:
        if self._source is None:
            return None
        try:
            found = [
                sample.values[0] for sample in self._source.read(time.time_ns(), ()) if is_counted(sample.instance)
            ]
        except SourceUnreadable:
            return None
        known = [value for value in found if value is not None]
        return sum(known) * 1e-6 if known else None

    def _stat(self) -> str:
        try:
            return self._host.path("/proc/stat").read_text(encoding="ascii", errors="replace")
        except OSError:
            return ""


def busy_seconds(stat: str) -> float | None:
    """Seconds in which processors were not idle, of all together, from the text of /proc/stat."""
    words = stat.partition("\n")[0].split()
    if len(words) < 8 or words[0] != "cpu" or not all(word.isdecimal() for word in words[1:]):
        return None
    ticks = sum(int(word) for place, word in enumerate(words[1:9]) if place not in _TICKS_IDLE)
    return ticks / os.sysconf("SC_CLK_TCK")


def shared(joules: float, job_seconds: float, all_seconds: float | None) -> float | None:
    """The job's part of the joules, by its share of the time in which processors were busy."""
    if all_seconds is None or job_seconds < 0:
        return None
    whole = max(all_seconds, job_seconds)
    return joules * job_seconds / whole if whole > 0 else None


def _opened(host: Host, names: tuple[str, ...]) -> list[Scheduled]:
    """Those of the sources that there are for us."""
    found = []
    for name in names:
        module = registry.module("observe.kernel", name)
        with contextlib.suppress(SourceAbsent, SourceUnreadable, OSError):
            found.append(Scheduled(name, module.open_source(module.Settings(**_OWN.get(name, {})), host), _PERIOD_NS))
    return found
