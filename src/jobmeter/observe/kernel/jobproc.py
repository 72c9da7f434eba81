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
from jobmeter.observe.groups.members import Members
from jobmeter.observe.host import Host

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


class Settings(Struct, frozen=True):
    """Nothing can be set."""


class _Job(Struct):
    found_ns: int
    dead: list[int]
    live: dict[int, Row]


class JobprocSource:
    """Reads the processes of jobs."""

    def __init__(self, host: Host, trees: Hierarchies) -> None:
        self._node = host.name
        self._proc = str(host.path("/proc"))
        self._members = Members(host, trees)
        self._jobs: dict[JobIdentity, _Job] = {}
        self.metrics = METRICS

    def read(self, now_ns: int, jobs: Sequence[RunningJob], reading: Reading = Reading.ALL) -> Iterator[Sample]:
        """One sample per job that ever had a process; the last one has what was read before."""
        for job in jobs:
            entry = self._jobs.get(job.identity)
            if entry is None or entry.found_ns != job.found_ns:
                entry = self._jobs[job.identity] = _Job(job.found_ns, [0] * len(_IO), {})
            memory = self._look(entry, [] if reading is Reading.LAST else self._members.processes(job))
            if entry.live or any(entry.dead):
                counts = [sum(column) for column in zip(entry.dead, *entry.live.values(), strict=True)]
                values = (*counts, *memory, len(entry.live))
                yield Sample("jobproc", self._node, job.identity, now_ns, _NAMES, values, since_ns=job.since_ns)
            if reading is Reading.LAST:
                del self._jobs[job.identity]
        if reading is Reading.ALL and len(self._jobs) > len(jobs):
            here = {job.identity for job in jobs}
            self._jobs = {identity: entry for identity, entry in self._jobs.items() if identity in here}

    def close(self) -> None:
        """Nothing is kept open."""

    def _look(self, entry: _Job, processes: list[int]) -> list[int]:
        """Read the processes into the entry; gives the memory of all."""
        live: dict[int, Row] = {}
        memory = [0, 0, 0]
        for pid in processes:
            row = self._io(pid)
            if row is None:
                continue
            live[pid] = row
            for place, value in enumerate(self._memory(pid)):
                memory[place] += value
        for pid, row in entry.live.items():
            now = live.get(pid)
            if now is None or now[0] < row[0] or now[1] < row[1]:  # gone, or another process with its id
                entry.dead = [before + value for before, value in zip(entry.dead, row, strict=True)]
        entry.live = live
        return memory

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
            return (0, 0, 0)
        return tuple(int(found.get(key, 0)) for key in _STATUS)


def open_source(settings: Settings, host: Host) -> SampleSource:  # noqa: ARG001 - there is nothing to set
    """The processes of this host's jobs."""
    try:
        trees = hierarchies(host)
    except SourceAbsent:
        trees = Hierarchies({}, None)
    return JobprocSource(host, trees)
