"""The last values of a job whose folder is gone already.

The kernel removes a control group with all its counters, and nobody is asked before. What the job used between the
last reading and its end is known all the same: the kernel sends the totals of every task that ends. Both count
processor time by the scheduler's clock, so the growth of the one, from the last reading to the end, completes the
other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import structs

from jobmeter.model.job import JobIdentity
from jobmeter.model.sample import Sample

_GROUP, _TASKS = "cgroup", "taskstats"
COMPLETING = (_GROUP, _TASKS)
"""The sources that complete each other."""

_USAGE, _RUN = "cgroup_cpu_usage", "taskstats_cpu_run_virtual_total"


class LastValues:
    """Remembers, for each job, the last samples of the two sources that complete each other."""

    def __init__(self) -> None:
        self._last: dict[JobIdentity, dict[str, Sample]] = {}

    def keep(self, samples: Iterable[Sample]) -> None:
        """Remember what was read."""
        for sample in samples:
            if sample.job is not None and sample.source in (_GROUP, _TASKS):
                self._last.setdefault(sample.job, {})[sample.source] = sample

    def is_older(self, job: JobIdentity, moment_ns: int) -> bool:
        """Whether a job was last read before this moment."""
        return all(sample.time_ns < moment_ns for sample in self._last.get(job, {}).values())

    def closed(self, job: JobIdentity, final: Sequence[Sample], now_ns: int) -> list[Sample]:
        """The samples that end a job: `final`, with the control group's processor time completed if it was not read."""
        last = self._last.pop(job, {})
        if any(sample.source == _GROUP for sample in final):
            return list(final)
        tasks = next((sample for sample in final if sample.source == _TASKS), None)
        return [*final, *completed(last.get(_GROUP), last.get(_TASKS), tasks, now_ns)]


def completed(group: Sample | None, then: Sample | None, tasks: Sample | None, now_ns: int) -> list[Sample]:
    """The control group's processor time at the end: as last read, and what the tasks have used since.

    Nothing when it was never read, or when the tasks tell nothing. A job that came and went between two readings has no
    sample `then`; it counts from zero.
    """
    if tasks is None or (end := _value(tasks, _RUN)) is None:
        return []
    if group is None:
        if then is not None or tasks.since_ns is None:
            return []
        return [structs.replace(tasks, source=_GROUP, metrics=(_USAGE,), values=(end,), time_ns=now_ns)]
    usage, before = _value(group, _USAGE), None if then is None else _value(then, _RUN)
    if usage is None or before is None:
        return []
    total = usage + max(0, end - before)
    return [structs.replace(group, metrics=(_USAGE,), values=(total,), time_ns=now_ns)]


def _value(sample: Sample, metric: str) -> int | float | None:
    return sample.values[sample.metrics.index(metric)] if metric in sample.metrics else None
