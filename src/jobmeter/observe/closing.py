"""The last values of a job whose folder is gone already.

The kernel removes a control group with all its counters, and nobody is asked before. What the job used between the
last reading and its end is known all the same: the kernel sends the totals of every task that ends. Both count
processor time by the scheduler's clock, so the growth of the one, from the last reading to the end, completes the
other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct, structs

from jobmeter.model.job import JobIdentity
from jobmeter.model.sample import Sample

_GROUP, _TASKS = "cgroup", "taskstats"
COMPLETING = (_GROUP, _TASKS)
"""The sources that complete each other."""

_USAGE, _RUN = "cgroup_cpu_usage", "taskstats_cpu_run_virtual_total"


class Known(Struct):
    """What was read of a job: the group last of all, and the tasks together with the group at one instant."""

    group: Sample | None = None
    paired: Sample | None = None
    tasks: Sample | None = None
    read_ns: int = 0


class LastValues:
    """Remembers, for each job, the last samples of the two sources that complete each other."""

    def __init__(self) -> None:
        self._last: dict[JobIdentity, Known] = {}

    def keep(self, samples: Iterable[Sample]) -> None:
        """Remember what was read; of one instant, the group before the tasks."""
        for sample in samples:
            if sample.job is None or sample.source not in COMPLETING:
                continue
            known = self._last.get(sample.job)
            if known is None:
                known = self._last[sample.job] = Known()
            known.read_ns = sample.time_ns
            if sample.source == _GROUP:
                if _USAGE in sample.metrics:
                    known.group = sample
            elif known.group is not None and known.group.time_ns == sample.time_ns:
                known.paired, known.tasks = known.group, sample

    def is_older(self, job: JobIdentity, moment_ns: int) -> bool:
        """Whether a job was last read before this moment."""
        known = self._last.get(job)
        return known is None or known.read_ns < moment_ns

    def closed(self, job: JobIdentity, final: Sequence[Sample], now_ns: int) -> list[Sample]:
        """The samples that end a job: `final`, with the control group's processor time completed if it was not read."""
        known = self._last.pop(job, None)
        if any(sample.source == _GROUP and _USAGE in sample.metrics for sample in final):
            return list(final)
        end = next((sample for sample in final if sample.source == _TASKS), None)
        return [*final, *completed(known or Known(), end, now_ns)]


def completed(known: Known, end: Sample | None, now_ns: int) -> list[Sample]:
    """The control group's processor time at the end: as last read, and what the tasks have used since.

    Nothing when the tasks tell nothing. A job that came and went between two readings counts from zero, and so does
    one that went before it had a folder where processor time is counted.
    """
    if end is None or (used := _value(end, _RUN)) is None:
        return []
    last = None if known.group is None else _value(known.group, _USAGE)
    if known.group is None or last is None:
        if end.since_ns is None:
            return []
        return [structs.replace(end, source=_GROUP, metrics=(_USAGE,), values=(used,), time_ns=now_ns)]
    if known.paired is None or known.tasks is None:
        return []
    then, before = _value(known.paired, _USAGE), _value(known.tasks, _RUN)
    if then is None or before is None:
        return []
    total = max(last, then + max(0, used - before))
    return [structs.replace(known.group, metrics=(_USAGE,), values=(total,), time_ns=now_ns)]


def _value(sample: Sample, metric: str) -> int | float | None:
    return sample.values[sample.metrics.index(metric)] if metric in sample.metrics else None
