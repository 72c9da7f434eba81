"""Which commands of a job use the processor and the memory: its processes, added up by the name of their program.

A process is looked at only while it is there, so one that came and went between two readings is in no sum: what the
commands lack of the job's whole processor time is theirs. A process that becomes another program counts for each what
it used meanwhile. Facts: proc(5), pid/stat; the kernel cuts names at 15 bytes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from jobmeter.contract import Reading, SampleSource, SourceAbsent
from jobmeter.model.job import JobIdentity, RunningJob
from jobmeter.model.metric import Kind, Metric
from jobmeter.model.sample import Sample
from jobmeter.observe.cgroups import Hierarchies, hierarchies
from jobmeter.observe.groups.members import Members
from jobmeter.observe.host import Host
from jobmeter.observe.tasks.clock import clock_of

OTHERS = "all other commands"
"""Longer than the kernel lets a name be, so no command is called so."""

METRICS = (
    Metric("commands_cpu", "centiseconds", Kind.COUNTER, "Processor time of the command's processes."),
    Metric("commands_vmrss", "kibibytes", Kind.GAUGE, "Resident memory of them, shared pages once per process."),
    Metric("commands_processes", "count", Kind.GAUGE, "Processes of the command."),
)
_NAMES = tuple(metric.name for metric in METRICS)
_RUNS = "jobmeter"
_REFRESH_NS = 90_000_000_000
"""How often all are read whether they did something or not: memory may be taken from a process that sleeps."""
_PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024
_CENTISECONDS_A_TICK = 100 / os.sysconf("SC_CLK_TCK")
# Places in pid/stat after the name: proc(5) numbers them from 3 on.
_UTIME, _STIME, _STARTED, _RSS = 14 - 3, 15 - 3, 22 - 3, 24 - 3


class Settings(Struct, frozen=True):
    """How many commands are told apart. Every process is looked at, so this is done every 15 s at most."""

    own_period_seconds: ClassVar[float] = 15.0

    most: Annotated[
        int, Meta(description="So many commands of a job are told apart, the others are added up.", ge=1, le=1000)
    ] = 30
    runs: Annotated[
        bool, Meta(description="Also the jobs of `jobmeter run`, which tells of their commands itself.")
    ] = False


class _Process(Struct, frozen=True):
    command: str
    started: int
    ticks: int
    kibibytes: int
    clock_ns: int | None


class _Command(Struct):
    """What one has used so far; memory and processes are those of the last reading."""

    ticks: int = 0
    kibibytes: int = 0
    processes: int = 0
    told_ns: int | None = None


class _Job(Struct):
    found_ns: int
    looked_ns: int | None
    """When it was last looked at; at first when it began, if that is known."""
    live: dict[int, _Process]
    commands: dict[str, _Command]
    refreshed_ns: int


class CommandsSource:
    """Reads the processes of jobs."""

    def __init__(self, settings: Settings, host: Host, trees: Hierarchies) -> None:
        self._node = host.name
        self._proc = str(host.path("/proc"))
        self._clock = clock_of(host)
        self._members = Members(host, trees)
        self._most = settings.most
        self._runs = settings.runs
        self._jobs: dict[JobIdentity, _Job] = {}
        self.metrics = METRICS

    def read(self, now_ns: int, jobs: Sequence[RunningJob], reading: Reading = Reading.ALL) -> Iterator[Sample]:
        """A sample per command that is there. One that was not there at the reading before is told as it was then, too.

        A job that is gone has no processes to look at, and nothing is added.
        """
        for job in jobs:
            if job.identity.manager == _RUNS and not self._runs:
                continue
            if reading is Reading.LAST:
                self._jobs.pop(job.identity, None)
                continue
            entry = self._jobs.get(job.identity)
            if entry is None or entry.found_ns != job.found_ns:
                entry = self._jobs[job.identity] = _Job(job.found_ns, job.since_ns, {}, {}, now_ns)
            before = {name: command.ticks for name, command in entry.commands.items()}
            is_fresh = 0 <= now_ns - entry.refreshed_ns < _REFRESH_NS
            if not is_fresh:
                entry.refreshed_ns = now_ns
            self._look(entry, self._members.processes(job), entry.live if is_fresh else {})
            for name, command in entry.commands.items():
                if command.processes:
                    yield from self._told(now_ns, job, entry, name, before.get(name, 0))
            entry.looked_ns = now_ns
        if reading is Reading.ALL and len(self._jobs) > len(jobs):
            here = {job.identity for job in jobs}
            self._jobs = {identity: entry for identity, entry in self._jobs.items() if identity in here}

    def close(self) -> None:
        """Nothing is kept open."""

    def _told(self, now_ns: int, job: RunningJob, entry: _Job, name: str, before: int) -> Iterator[Sample]:
        command, looked_ns = entry.commands[name], entry.looked_ns
        if looked_ns is not None and command.told_ns != looked_ns and looked_ns < now_ns:
            yield self._sample(looked_ns, job, name, _Command(before))
        yield self._sample(now_ns, job, name, command)
        command.told_ns = now_ns

    def _sample(self, time_ns: int, job: RunningJob, name: str, command: _Command) -> Sample:
        values = (round(command.ticks * _CENTISECONDS_A_TICK), command.kibibytes, command.processes)
        return Sample("commands", self._node, job.identity, time_ns, _NAMES, values, name, job.since_ns)

    def _look(self, entry: _Job, processes: Sequence[int], known: Mapping[int, _Process]) -> None:
        """Read the processes into the entry; of those that are known only the ones that did something."""
        for command in entry.commands.values():
            command.kibibytes = command.processes = 0
        live = {pid: process for pid in processes if (process := self._now(pid, known.get(pid))) is not None}
        for pid, process in live.items():
            command = self._command(entry, process.command)
            last = entry.live.get(pid)
            before = 0 if last is None or last.started != process.started else last.ticks
            command.ticks += max(0, process.ticks - before)
            command.kibibytes += process.kibibytes
            command.processes += 1
        entry.live = live

    def _command(self, entry: _Job, name: str) -> _Command:
        if name not in entry.commands and len(entry.commands) >= self._most:
            name = OTHERS
        return entry.commands.setdefault(name, _Command())

    def _now(self, pid: int, known: _Process | None) -> _Process | None:
        """One process, as it is known where it has used nothing since; None when it is gone."""
        clock_ns = self._clock(pid)
        if known is not None and clock_ns is not None and known.clock_ns == clock_ns:
            return known
        return self._process(pid, clock_ns)

    def _process(self, pid: int, clock_ns: int | None) -> _Process | None:
        try:
            with open(f"{self._proc}/{pid}/stat", "rb", buffering=0) as file:  # noqa: PTH123 - often
                about, bracket, rest = file.read(4096).rpartition(b") ")
        except OSError:
            return None
        fields = rest.split()
        if not bracket or len(fields) <= _RSS:
            return None
        ticks = int(fields[_UTIME]) + int(fields[_STIME])
        name = _readable(about.partition(b"(")[2])
        return _Process(name, int(fields[_STARTED]), ticks, int(fields[_RSS]) * _PAGE_KIB, clock_ns)


def _readable(name: bytes) -> str:
    """A process names itself as it likes: what is no printable text is replaced by a sign."""
    text = name.decode("utf-8", "replace")
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text) or "(no name)"


def open_source(settings: Settings, host: Host) -> SampleSource:
    """The commands of this host's jobs."""
    try:
        trees = hierarchies(host)
    except SourceAbsent:
        trees = Hierarchies({}, None)
    return CommandsSource(settings, host, trees)
