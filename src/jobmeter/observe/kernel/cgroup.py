"""What the control groups of the jobs say: processor time, memory, block devices, processes, pressure.

It is the truth for processor time and memory: the kernel counts there what every process of the job used, also those
that lived for a moment only. Facts: the kernel's documents on control groups, versions 1 and 2.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from msgspec import Meta, Struct

from jobmeter.contract import Reading, SampleSource
from jobmeter.model.job import JobIdentity, RunningJob
from jobmeter.model.metric import Metric
from jobmeter.model.sample import Sample
from jobmeter.observe.cgroups import UNIFIED, Hierarchies, hierarchies
from jobmeter.observe.groups.files import FILES, METRICS
from jobmeter.observe.groups.text import Learn, Parser
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

_AGAIN_LEAST_NS, _AGAIN_MOST_NS = 20_000_000, 30_000_000_000
"""How soon is looked for files that were not there; the longer none comes, the later."""

log = logging.getLogger("jobmeter.observe")


class _File(Struct):
    """An open file, how it is read, and what it said the last time."""

    path: str
    file: KeptFile
    tells: bool
    follows: bool
    parsers: list[Parser] = []
    names: list[str] = []
    said: bytes | None = None
    values: list[int | None] = []

    def parse(self, said: bytes) -> None:
        """Take in what it says. Raises ValueError or IndexError for what is not understood."""
        self.said, self.values = said, [None] * len(self.names)
        self.values = [value for parse in self.parsers for value in parse(said)]


class _Open(Struct):
    """The open files of one job, those first that tell whether others need to be read.

    `missing` are files that were not there, might not be read or failed. A controller may be given to a group later,
    or taken away and given again, which makes its files anew.
    """

    job: RunningJob
    files: list[_File]
    metrics: tuple[str, ...]
    missing: set[str]
    controllers: KeptFile | None
    given: bytes
    opened_ns: int
    again_ns: int
    values: tuple[int | None, ...] = ()
    stirred_ns: int = 0
    is_settled: bool = False
    told: bool = False

    def read(self, now_ns: int) -> tuple[int | None, ...] | None:
        """What the files say now; of a job that does nothing few are read. None when the job is gone.

        Its folders go one after the other: it is gone with the first file, and what another said is unknown by then.
        """
        is_told = is_new = False
        for each in self.files:
            if each.follows and self.is_settled and not is_told:
                continue
            try:
                said = each.file.read()
            except OSError:
                self.missing.add(each.path)
                if each is self.files[0]:
                    return None
                is_new = is_told = True
                each.said, each.values = None, [None] * len(each.names)
                continue
            if said != each.said:
                self._parse(each, said)
                is_new = True
                is_told = is_told or each.tells
        if is_new:
            self.values = tuple(value for each in self.files for value in each.values)
        if is_told:
            self.stirred_ns = now_ns
        self.is_settled = not is_told and not 0 <= now_ns - self.stirred_ns < _SETTLES_NS
        return self.values

    def _parse(self, each: _File, said: bytes) -> None:
        try:
            each.parse(said)
        except (ValueError, IndexError) as fault:
            if not self.told:
                self.told = True
                log.warning("cgroup.not_understood file=%s reason=%r", each.path, str(fault))

    def is_stale(self, now_ns: int) -> bool:
        """Whether it is time to look, and there are other files now than those that are open."""
        if now_ns - self.opened_ns >= 0 and now_ns < self.again_ns:
            return False
        age = max(0, now_ns - self.opened_ns)
        self.again_ns = now_ns + min(_AGAIN_MOST_NS, max(_AGAIN_LEAST_NS, age))
        return _given(self.controllers) != self.given or any(os.access(path, os.R_OK) for path in self.missing)

    def close(self) -> None:
        """Close all files."""
        for each in self.files:
            each.file.close()
        if self.controllers is not None:
            self.controllers.close()


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
        if opened is None or opened.job is not job or opened.is_stale(now_ns):
            self._forget(job.identity)
            opened = self._open[job.identity] = self._opened(job, now_ns)
        values = opened.read(now_ns)
        return None if values is None or not opened.files else (opened, values)

    def _opened(self, job: RunningJob, now_ns: int) -> _Open:
        files: dict[str, _File] = {}
        missing: set[str] = set()
        for each in FILES:
            place = self._trees.folder(each.controller, job) if each.topic in self._topics else None
            if place is None or place[0] != each.version:
                continue
            path = f"{place[1]}/{each.name}"
            if path not in files and path not in missing:
                if (file := kept(path)) is None:
                    missing.add(path)
                    continue
                files[path] = _File(path, file, each.tells, each.follows)
            if path in files and not _learned(files[path], each.learn):
                missing.add(path)
        for path in [path for path, file in files.items() if not file.names]:
            files.pop(path).file.close()
        has_clock = any("cgroup_cpu_usage" in each.names for each in files.values())
        for each_file in files.values():
            each_file.follows = each_file.follows and has_clock
        order = tuple(name for each_file in files.values() for name in each_file.names)
        order = self._orders.setdefault(order, order)
        unified = None if (below := job.cgroups.get(UNIFIED)) is None else f"{self._trees.unified}/{below}"
        controllers = None if unified is None else kept(f"{unified}/cgroup.controllers")
        again_ns = now_ns + _AGAIN_LEAST_NS
        return _Open(job, list(files.values()), order, missing, controllers, _given(controllers), now_ns, again_ns)

    def _forget(self, identity: JobIdentity) -> None:
        opened = self._open.pop(identity, None)
        if opened is not None:
            opened.close()


def _learned(file: _File, learn: Learn) -> bool:
    """Learn what a file has; False where it cannot be read now."""
    try:
        found, parser = learn(file.file.read())
    except OSError:
        return False
    if found:
        file.parsers.append(parser)
        file.names += found
    return True


def _given(controllers: KeptFile | None) -> bytes:
    """The controllers that a group of the unified tree has; none where it is gone or there is no such tree."""
    try:
        return b"" if controllers is None else controllers.read()
    except OSError:
        return b""


def open_source(settings: Settings, host: Host) -> SampleSource:
    """The control groups of this host. Raises SourceAbsent where there are none."""
    return CgroupSource(settings, host, hierarchies(host))
