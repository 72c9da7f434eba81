"""What the control groups of the jobs say: processor time, memory, block devices, processes, pressure.

It is the truth for processor time and memory: the kernel counts there what every process of the job used, also those
that lived for a moment only. Facts: the kernel's documents on control groups, versions 1 and 2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from msgspec import Meta, Struct

from jobmeter.contract import Reading, SampleSource, SourceUnreadable
from jobmeter.model.job import JobIdentity, RunningJob
from jobmeter.model.metric import Metric
from jobmeter.model.sample import Sample
from jobmeter.observe.cgroups import Hierarchies, hierarchies
from jobmeter.observe.groups.files import FILES, METRICS
from jobmeter.observe.groups.text import Parser
from jobmeter.observe.host import Host
from jobmeter.observe.kept import KeptFile, kept

Topic = Literal["cpu", "memory", "io", "pids", "pressure"]


class Settings(Struct, frozen=True):
    """What is read of every job's control group."""

    topics: Annotated[tuple[Topic, ...], Meta(description="Which groups of values.")] = (
        "cpu",
        "memory",
        "io",
        "pids",
        "pressure",
    )


_SETTLES_NS = 3_000_000_000
"""The kernel adds up the memory of a group every two seconds only: what was read sooner may not be all."""


class _File(Struct):
    """An open file, how it is read, and what it said the last time."""

    file: KeptFile
    tells: bool
    follows: bool
    parsers: list[Parser] = []
    names: list[str] = []
    said: bytes | None = None
    values: list[int | None] = []


class _Open(Struct):
    """The open files of one job, those first that tell whether others need to be read."""

    job: RunningJob
    files: list[_File]
    metrics: tuple[str, ...]
    values: tuple[int | None, ...] = ()
    stirred_ns: int = 0
    is_settled: bool = False

    def read(self, now_ns: int) -> tuple[int | None, ...]:
        """What the files say now; of a job that does nothing few are read. Raises OSError when the job is gone.

        Its folders go one after the other: it is gone with the first file, and what another said is unknown by then.
        """
        is_told = is_new = False
        for each in self.files:
            if each.follows and self.is_settled and not is_told:
                continue
            try:
                said = each.file.read()
            except OSError:
                if each is self.files[0]:
                    raise
                is_new = is_told = True
                each.said, each.values = None, [None] * len(each.names)
                continue
            if said != each.said:
                each.values = [value for parse in each.parsers for value in parse(said)]
                each.said = said
                is_new = True
                is_told = is_told or each.tells
        if is_new:
            self.values = tuple(value for each in self.files for value in each.values)
        if is_told:
            self.stirred_ns = now_ns
        self.is_settled = not is_told and not 0 <= now_ns - self.stirred_ns < _SETTLES_NS
        return self.values


class CgroupSource:
    """Reads the control groups of jobs."""

    def __init__(self, settings: Settings, host: Host, trees: Hierarchies) -> None:
        self._topics = frozenset(settings.topics)
        self._node = host.name
        self._trees = trees
        self._open: dict[JobIdentity, _Open] = {}
        self._orders: dict[tuple[str, ...], tuple[str, ...]] = {}

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The catalogue entries."""
        return METRICS

    def read(self, now_ns: int, jobs: Sequence[RunningJob], reading: Reading = Reading.ALL) -> Iterator[Sample]:
        """One sample per job that is still there."""
        for job in jobs:
            values = self._values(job, now_ns)
            if values is not None:
                opened, numbers = values
                yield Sample("cgroup", self._node, job.identity, now_ns, opened.metrics, numbers, since_ns=job.since_ns)
            if reading is Reading.LAST:
                self._forget(job.identity)
        if reading is Reading.ALL and len(self._open) > len(jobs):
            for identity in set(self._open) - {job.identity for job in jobs}:
                self._forget(identity)

    def close(self) -> None:
        """Close all files."""
        for identity in list(self._open):
            self._forget(identity)

    def _values(self, job: RunningJob, now_ns: int) -> tuple[_Open, tuple[int | None, ...]] | None:
        opened = self._open.get(job.identity)
        if opened is None or opened.job is not job:
            self._forget(job.identity)
            opened = self._opened(job)
            if opened is None:
                return None
            self._open[job.identity] = opened
        try:
            return opened, opened.read(now_ns)
        except OSError:
            return None  # the folder was removed: the job is gone
        except ValueError as fault:
            raise SourceUnreadable(f"a control group of job {job.identity.job} is not understood: {fault}") from None

    def _opened(self, job: RunningJob) -> _Open | None:
        files: dict[str, _File] = {}
        for each in FILES:
            place = self._trees.folder(each.controller, job) if each.topic in self._topics else None
            if place is None or place[0] != each.version:
                continue
            path = f"{place[1]}/{each.name}"
            if path not in files:
                if (file := kept(path)) is None:
                    continue
                files[path] = _File(file, each.tells, each.follows)
            try:
                found, parser = each.learn(files[path].file.read())
            except OSError:
                continue
            if found:
                files[path].parsers.append(parser)
                files[path].names += found
        if not files:
            return None
        has_clock = any("cgroup_cpu_usage" in each.names for each in files.values())
        for opened in files.values():
            opened.follows = opened.follows and has_clock
        order = tuple(name for each in files.values() for name in each.names)
        order = self._orders.setdefault(order, order)
        return _Open(job, list(files.values()), order)

    def _forget(self, identity: JobIdentity) -> None:
        opened = self._open.pop(identity, None)
        if opened is not None:
            for each in opened.files:
                each.file.close()


def open_source(settings: Settings, host: Host) -> SampleSource:
    """The control groups of this host. Raises SourceAbsent where there are none."""
    return CgroupSource(settings, host, hierarchies(host))
