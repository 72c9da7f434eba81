"""What /proc says of each process of a job, added up: reading and writing on all file systems, memory.

It counts what block devices do not see, such as NFS, Lustre and BeeGFS. Each process counts once, whatever threads it
has; what a process did is kept when it ends, as last read. Facts: proc(5), pid/io and pid/status.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from msgspec import Struct

from jobmeter.contract import Reading, SampleSource, SourceAbsent
from jobmeter.model.job import JobIdentity, RunningJob
from jobmeter.model.metric import Kind, Metric
from jobmeter.model.sample import Sample
from jobmeter.observe.cgroups import Hierarchies, hierarchies
from jobmeter.observe.groups.activity import Activity
from jobmeter.observe.groups.members import Members
from jobmeter.observe.host import Host
from jobmeter.observe.tasks.clock import clock_of

_IO = ("rchar", "wchar", "syscr", "syscw", "read_bytes", "write_bytes", "cancelled_write_bytes")
_STATUS = {b"VmRSS": "vmrss", b"RssShmem": "rssshmem", b"VmSize": "vmsize"}
_IO_LINE = re.compile(rb"^\w+: (\d+)$", re.MULTILINE)
_STATUS_LINE = re.compile(rb"^(VmSize|VmRSS|RssShmem):\s+(\d+) kB$", re.MULTILINE)

METRICS = (
    Metric("jobproc_rchar", "bytes", Kind.COUNTER, "Read by system calls, from anything."),
    Metric("jobproc_wchar", "bytes", Kind.COUNTER, "Written by system calls, to anything."),
    Metric("jobproc_syscr", "count", Kind.COUNTER, "System calls that read."),
    Metric("jobproc_syscw", "count", Kind.COUNTER, "System calls that write."),
    Metric("jobproc_read_bytes", "bytes", Kind.COUNTER, "Fetched from storage."),
    Metric("jobproc_write_bytes", "bytes", Kind.COUNTER, "Sent to storage."),
    Metric("jobproc_cancelled_write_bytes", "bytes", Kind.COUNTER, "Not sent to storage, being removed before."),
    Metric("jobproc_vmrss", "kibibytes", Kind.GAUGE, "Resident memory, shared pages once per process."),
    Metric("jobproc_rssshmem", "kibibytes", Kind.GAUGE, "Resident shared memory, once per process."),
    Metric("jobproc_vmsize", "kibibytes", Kind.GAUGE, "Virtual memory."),
    Metric("jobproc_processes", "count", Kind.GAUGE, "Processes that could be read."),
)
_NAMES = tuple(metric.name for metric in METRICS)

Row = tuple[int, ...]
_NO_MEMORY = (0, 0, 0)


class Settings(Struct, frozen=True):
    """Nothing can be set."""


_REFRESH_NS = 30_000_000_000
"""How often all is read whether it did something or not: memory may be taken from a process that sleeps."""


class _Process(Struct, frozen=True):
    """What a process said, and what it had used shortly before; a process that has used nothing since did nothing."""

    clock_ns: int | None
    io: Row
    memory: Row


class _Job(Struct):
    found_ns: int
    dead: Row
    live: dict[int, _Process]
    values: tuple[int, ...] | None = None
    refreshed_ns: int = 0


class JobprocSource:
    """Reads the processes of jobs; only those that have done something since."""

    def __init__(self, host: Host, trees: Hierarchies) -> None:
        self._node = host.name
        self._proc = str(host.path("/proc"))
        self._clock = clock_of(host)
        self._members = Members(host, trees)
        self._activity = Activity(trees)
        self._jobs: dict[JobIdentity, _Job] = {}
        self.metrics = METRICS

    def read(self, now_ns: int, jobs: Sequence[RunningJob], reading: Reading = Reading.ALL) -> Iterator[Sample]:
        """One sample per job that ever had a process; the last one has what was read before."""
        for job in jobs:
            entry = self._jobs.get(job.identity)
            if entry is None or entry.found_ns != job.found_ns:
                entry = self._jobs[job.identity] = _Job(job.found_ns, (0,) * len(_IO), {})
            if reading is Reading.LAST:
                self._take(entry, {})
                del self._jobs[job.identity]
            else:
                self._look(entry, job, now_ns)
            if entry.values is not None:
                values = entry.values
                yield Sample("jobproc", self._node, job.identity, now_ns, _NAMES, values, since_ns=job.since_ns)
        if reading is Reading.ALL:
            self._activity.keep(jobs)
            if len(self._jobs) > len(jobs):
                here = {job.identity for job in jobs}
                self._jobs = {identity: entry for identity, entry in self._jobs.items() if identity in here}

    def close(self) -> None:
        """Close the files by which it is told whether a job did something."""
        self._activity.close()

    def _look(self, entry: _Job, job: RunningJob, now_ns: int) -> None:
        """Read of a job's processes those that did something, and now and then all."""
        is_still = self._activity.is_still(job)
        is_fresh = 0 <= now_ns - entry.refreshed_ns < _REFRESH_NS
        if is_still and is_fresh and entry.values is not None:
            return
        if not is_fresh:
            entry.refreshed_ns = now_ns
        live: dict[int, _Process] = {}
        for pid in self._members.processes(job):
            clock_ns = self._clock(pid)
            process = entry.live.get(pid) if is_fresh else None
            if process is None or clock_ns is None or clock_ns != process.clock_ns:
                io = self._io(pid)
                process = None if io is None else _Process(clock_ns, io, self._memory(pid))
            if process is not None:
                live[pid] = process
        self._take(entry, live)

    def _take(self, entry: _Job, live: dict[int, _Process]) -> None:
        """These are the processes now; what others did that were there before is kept."""
        for pid, process in entry.live.items():
            now = live.get(pid)
            if (
                now is None or now.io[0] < process.io[0] or now.io[1] < process.io[1]
            ):  # gone, or its id is another's now
                entry.dead = tuple(map(int.__add__, entry.dead, process.io))
        entry.live = live
        if live or any(entry.dead):
            counts = map(sum, zip(entry.dead, *(process.io for process in live.values()), strict=True))
            memory = map(sum, zip(_NO_MEMORY, *(process.memory for process in live.values()), strict=True))
            entry.values = (*counts, *memory, len(live))

    def _io(self, pid: int) -> Row | None:
        try:
            with open(f"{self._proc}/{pid}/io", "rb", buffering=0) as file:  # noqa: PTH123 - often
                found = tuple(map(int, _IO_LINE.findall(file.read(4096))))
        except OSError:
            return None
        return found if len(found) == len(_IO) else None

    def _memory(self, pid: int) -> Row:
        try:
            with open(f"{self._proc}/{pid}/status", "rb", buffering=0) as file:  # noqa: PTH123 - often
                found = dict(_STATUS_LINE.findall(file.read(8192)))
        except OSError:
            return _NO_MEMORY
        return tuple(int(found.get(key, 0)) for key in _STATUS)


def open_source(settings: Settings, host: Host) -> SampleSource:  # noqa: ARG001 - there is nothing to set
    """The processes of this host's jobs."""
    try:
        trees = hierarchies(host)
    except SourceAbsent:
        trees = Hierarchies({}, None)
    return JobprocSource(host, trees)
