"""What a job really used, as components of its record: which summary is of which record, and what it adds.

All of it is pure, and the result depends only on what is known, not on the order in which it came. A record says itself
which of its components come from a summary, in its meta (`JOINED_KEY`), so that they can be taken off again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple, Protocol, TypeVar

import msgspec
from msgspec import Struct

from jobmeter.model.adding import parts_of, rank
from jobmeter.model.metric import Catalogue, Kind, Metric
from jobmeter.model.record import AMOUNT_MAX, Component, Record
from jobmeter.model.summary import JobSummary

JOINED_KEY = "joined_components"
"""Meta: the names of the components that come from a summary."""
ENERGY_KEY = "energy_source"
"""Meta: how the component Energy is known, an `EnergySource`."""

SLACK_NS = 30 * 10**9
"""Clocks of nodes and of the batch system may differ by so much, for a job and its record to be of the same time."""

JOINED = Catalogue(
    [
        Metric("UsedCPU", "seconds", Kind.TOTAL, "Processor time of all processes on all nodes."),
        Metric("PeakMemory", "bytes", Kind.TOTAL, "The most memory charged to the job, summed over its nodes."),
        Metric("Energy", "joules", Kind.TOTAL, "Energy of the job's part of its nodes."),
        Metric("IORead", "bytes", Kind.TOTAL, "Read from block devices."),
        Metric("IOWritten", "bytes", Kind.TOTAL, "Written to block devices."),
        Metric("GPUEnergy", "joules", Kind.TOTAL, "Energy of the graphics processors while the job was on them."),
        Metric("PeakGPUMemory", "bytes", Kind.TOTAL, "The most memory used on the job's graphics processors, summed."),
    ]
)
"""The components that a summary can give."""


class _Origin(NamedTuple):
    """Where an amount comes from: a number of a metric, and how many units of the component one unit of it is."""

    metric: str
    field: str
    factor: Fraction


_ONE = Fraction(1)
_ORIGINS: dict[str, tuple[_Origin, ...]] = {
    "UsedCPU": (
        _Origin("cgroup_cpu_usage", "total", Fraction(1, 10**9)),
        _Origin("taskstats_cpu_run_real_total", "total", Fraction(1, 10**9)),
    ),
    "PeakMemory": (
        _Origin("cgroup_memory_peak", "peak", _ONE),
        _Origin("cgroup_memory_current", "peak", _ONE),
        _Origin("jobproc_vmrss", "peak", Fraction(1024)),
    ),
    "IORead": (_Origin("cgroup_io_read_bytes", "total", _ONE), _Origin("jobproc_read_bytes", "total", _ONE)),
    "IOWritten": (_Origin("cgroup_io_write_bytes", "total", _ONE), _Origin("jobproc_write_bytes", "total", _ONE)),
    "GPUEnergy": (_Origin("nvidia_energy", "total", Fraction(1, 1000)),),
    "PeakGPUMemory": (_Origin("nvidia_memory_used", "peak", _ONE),),
}
"""The first metric that a summary has counts."""


class Candidate(Struct, frozen=True):
    """A record that may be of a job: its cluster as far as known (""), and when it ran."""

    record_id: str
    cluster: str
    start_ns: int
    stop_ns: int | None


class _Named(Protocol):
    @property
    def name(self) -> str: ...


class _Joinable(Protocol):
    @property
    def components(self) -> Sequence[_Named]: ...

    @property
    def meta(self) -> Mapping[str, tuple[str, ...]] | None: ...


R = TypeVar("R", bound=_Joinable)


def components_of(summary: JobSummary, wanted: Collection[str]) -> list[Component]:
    """The components that a summary gives, of those that are wanted. What was not measured is not there."""
    found = []
    for name in (metric.name for metric in JOINED if metric.name in wanted):
        amount = _energy(summary) if name == "Energy" else _amount(summary, _ORIGINS[name])
        if amount is not None and 0 <= amount <= AMOUNT_MAX:
            found.append(Component(name, amount, ()))
    return found


def without_joined(record: R) -> R:
    """The record as it was sent: without what a summary has added."""
    meta = record.meta
    if meta is None or JOINED_KEY not in meta:
        return record
    joined = {name for name in meta[JOINED_KEY] if name in JOINED}
    rest = {key: values for key, values in meta.items() if key not in {JOINED_KEY, ENERGY_KEY}}
    components = tuple(part for part in record.components if part.name not in joined)
    replaced: R = msgspec.structs.replace(record, components=components, meta=rest or None)  # type: ignore[type-var]
    return replaced


def joined(record: Record, summary: JobSummary | None, wanted: Collection[str]) -> Record:
    """The record with what the summary gives, in place of what another has given before.

    A component that the record has of its own, by the same name, stays as it is.
    """
    bare = without_joined(record)
    own = {part.name for part in bare.components}
    added = [] if summary is None else [part for part in components_of(summary, wanted) if part.name not in own]
    if summary is None or not added:
        return bare
    meta = {**(bare.meta or {}), JOINED_KEY: tuple(part.name for part in added)}
    if any(part.name == "Energy" for part in added):
        meta[ENERGY_KEY] = (summary.energy.value,)
    return msgspec.structs.replace(bare, components=(*bare.components, *added), meta=meta)


def assigned(summaries: Iterable[JobSummary], candidates: Sequence[Candidate]) -> dict[str, tuple[JobSummary, ...]]:
    """The summaries of each record that has any, among those of one job of one batch system; to be `added`.

    A job may run again under its number, and samples do not say which run they are of: so a summary is of the record
    with which it has the most time in common. Of several that tell of the same the best counts. Several that tell of
    parts of the record's time, or of some of its nodes each, count together where they lie within the record's time.
    """
    records = {one.record_id: one for one in candidates}
    found: dict[str, list[JobSummary]] = {}
    for summary in summaries:
        if (record_id := _record_of(summary, candidates)) is not None:
            found.setdefault(record_id, []).append(summary)
    return {record_id: _members(records[record_id], its) for record_id, its in found.items()}


def _members(record: Candidate, summaries: Sequence[JobSummary]) -> tuple[JobSummary, ...]:
    touching = [one for one in summaries if _common_ns(one, record) >= 0] or summaries
    best = max(touching, key=rank)
    within = [one for one in touching if _is_within(one, record)]
    return tuple(parts_of(within)) if best in within else (best,)


def _is_within(summary: JobSummary, record: Candidate) -> bool:
    """Whether all of its time is the record's, as far as clocks agree."""
    if summary.first_ns < record.start_ns - SLACK_NS:
        return False
    return record.stop_ns is None or summary.last_ns <= record.stop_ns + SLACK_NS


def _record_of(summary: JobSummary, candidates: Sequence[Candidate]) -> str | None:
    common = [
        (_common_ns(summary, one), one.record_id)
        for one in candidates
        if not (one.cluster and summary.job.cluster and one.cluster != summary.job.cluster)
    ]
    longest, record_id = max(common, default=(-SLACK_NS, ""))
    return record_id if longest > -SLACK_NS else None


def _common_ns(summary: JobSummary, candidate: Candidate) -> int:
    last = summary.last_ns if candidate.stop_ns is None else min(summary.last_ns, candidate.stop_ns)
    return last - max(summary.first_ns, candidate.start_ns)


def _energy(summary: JobSummary) -> int | None:
    return None if summary.joules is None else round(summary.joules)


def _amount(summary: JobSummary, origins: Sequence[_Origin]) -> int | None:
    for origin in origins:
        metric = summary.metric(origin.metric)
        value: float | None = None if metric is None else getattr(metric, origin.field)
        if value is not None:
            return round(Fraction(value) * origin.factor)
    return None
