"""What is said of a command that was measured: as lines, as values, and as its record. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from jobmeter.model.record import Component, MetaMap, Record, from_microseconds, name_fault
from jobmeter.model.summary import JobSummary, MetricSummary
from jobmeter.report.why.names import CHARGED
from jobmeter.report.why.words import joules, number_text, percent, size, span
from jobmeter.run.measured.measuring import Outcome

LARGEST = "resident memory of its largest process"
SUMMED = "resident memory of its processes together, read each second"


class Numbers(Struct, frozen=True, kw_only=True):
    """What a command used: seconds, bytes, joules, counts. None is not known."""

    job: str
    node: str
    status: int
    signal: int | None
    wall_seconds: float
    cpu_seconds: float
    cpu_user_seconds: float
    cpu_system_seconds: float
    cpu_from: str
    cores: int
    efficiency: float | None
    memory_peak_bytes: float | None
    memory_peak_meaning: str
    largest_process_bytes: int | None
    read_bytes: float
    written_bytes: float
    io_from: str
    voluntary_switches: int
    involuntary_switches: int
    joules: float | None
    machine_joules: float | None
    left: int


def numbers(outcome: Outcome) -> Numbers:
    """The numbers, the best that there are of each: of the control group, else what the kernel kept of processes."""
    used, summary = outcome.used, outcome.summary
    of_group = _total(summary, "cgroup_cpu_usage")
    by_processes = used.user_seconds + used.system_seconds
    cpu = by_processes if of_group is None else of_group / 1e9
    # The kernel splits by ticks; its sum is exact, so the parts are made to fit it.
    share = used.user_seconds / by_processes if by_processes > 0 else 1.0
    peak, meaning = _peak(outcome)
    read, written, source = _io(outcome)
    whole = outcome.wall_seconds * outcome.cores
    return Numbers(
        job=outcome.identity.job,
        node=outcome.node,
        status=outcome.status,
        signal=outcome.signal,
        wall_seconds=outcome.wall_seconds,
        cpu_seconds=cpu,
        cpu_user_seconds=cpu * share,
        cpu_system_seconds=cpu * (1 - share),
        cpu_from="processes that were waited for" if of_group is None else "control group",
        cores=outcome.cores,
        efficiency=cpu / whole if whole > 0 else None,
        memory_peak_bytes=peak,
        memory_peak_meaning=meaning,
        largest_process_bytes=used.largest_resident_bytes,
        read_bytes=read,
        written_bytes=written,
        io_from=source,
        voluntary_switches=used.voluntary_switches,
        involuntary_switches=used.involuntary_switches,
        joules=None if outcome.energy is None else outcome.energy.job_joules,
        machine_joules=None if outcome.energy is None else outcome.energy.machine_joules,
        left=outcome.left,
    )


def lines(found: Numbers) -> Iterator[str]:
    """The summary for people."""
    ended = f"by signal {found.signal}" if found.signal is not None else f"with status {found.status}"
    yield f"job         {found.job}, ended {ended}"
    yield f"wall time   {span(found.wall_seconds).shown}"
    parts = f"user {span(found.cpu_user_seconds).shown}, system {span(found.cpu_system_seconds).shown}"
    yield f"CPU         {span(found.cpu_seconds).shown} ({parts}; {found.cpu_from})"
    if found.efficiency is not None and found.wall_seconds > 0:
        busy = number_text(found.cpu_seconds / found.wall_seconds)
        cores = "core" if found.cores == 1 else "cores"
        yield f"efficiency  {percent(found.efficiency).shown} of {found.cores} {cores}, {busy} busy on average"
    if found.memory_peak_bytes is not None:
        yield f"peak memory {size(found.memory_peak_bytes).shown} ({found.memory_peak_meaning})"
    if found.memory_peak_bytes is None:
        yield "peak memory not known: too little to be told from our own"
    if found.largest_process_bytes is not None and found.memory_peak_meaning != LARGEST:
        yield f"            {size(found.largest_process_bytes).shown} ({LARGEST})"
    yield f"I/O         read {size(found.read_bytes).shown}, wrote {size(found.written_bytes).shown} ({found.io_from})"
    yield f"switches    {found.voluntary_switches:,} voluntary, {found.involuntary_switches:,} involuntary"
    if found.joules is not None and found.machine_joules is not None:
        whole = joules(found.machine_joules).shown
        yield f"energy      {joules(found.joules).shown}, its share by processor time of the machine's {whole}"
    if found.left:
        verb = "process goes" if found.left == 1 else "processes go"
        yield f"still there {found.left} {verb} on running; what it does from now on is not counted"


def record_of(outcome: Outcome, found: Numbers, meta: dict[str, str]) -> Record:
    """The record. What cannot be a meta value is left out; a part of a second of processor time is rounded."""
    amounts = {
        "Cores": found.cores,
        "NNodes": 1,
        "TotalCPU": round(found.cpu_seconds),
        "UserCPU": round(found.cpu_user_seconds),
        "SystemCPU": round(found.cpu_system_seconds),
    }
    if found.largest_process_bytes is not None:
        amounts["MaxRSS"] = found.largest_process_bytes
    told: dict[str, str] = {
        **meta,
        "collector_type": "jobmeter",
        "job_id": found.job,
        "node": outcome.node,
        "exit_status": str(found.status),
    }
    fit: MetaMap = {key: (value,) for key, value in told.items() if name_fault(value) is None}
    components = tuple(Component(name, amount, ()) for name, amount in amounts.items())
    start, stop = from_microseconds(outcome.began_ns // 1000), from_microseconds(outcome.ended_ns // 1000)
    return Record(f"jobmeter-{found.job}", components, start, fit, max(start, stop))


def as_values(found: Numbers) -> dict[str, Any]:
    """The numbers by name, for JSON."""
    return {name: getattr(found, name) for name in Numbers.__struct_fields__}


def _peak(outcome: Outcome) -> tuple[float | None, str]:
    """The peak, and what it counts."""
    charged = _metric(outcome.summary, "cgroup_memory_peak") or _metric(outcome.summary, "cgroup_memory_current")
    if charged is not None and charged.peak is not None:
        return charged.peak, CHARGED
    summed = _metric(outcome.summary, "jobproc_vmrss")
    largest = outcome.used.largest_resident_bytes
    if summed is not None and summed.peak and summed.peak * 1024 > (largest or 0):
        return summed.peak * 1024, SUMMED
    return largest, LARGEST


def _io(outcome: Outcome) -> tuple[float, float, str]:
    """Read, written, and by what."""
    read, written = (_total(outcome.summary, f"cgroup_io_{way}_bytes") for way in ("read", "write"))
    if read is not None and written is not None:
        return read, written, "block devices, control group"
    return outcome.used.read_bytes, outcome.used.written_bytes, "storage, processes that were waited for"


def _metric(summary: JobSummary | None, name: str) -> MetricSummary | None:
    return None if summary is None else summary.metric(name)


def _total(summary: JobSummary | None, name: str) -> float | None:
    metric = _metric(summary, name)
    return None if metric is None else metric.total
