"""Samples to store, and the store opened."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from jobmeter.model.job import JobIdentity
from jobmeter.model.metric import Kind, Metric
from jobmeter.model.sample import Sample, SampleBatch
from jobmeter.model.series import SampleQuestion, SampleTable, Value
from jobmeter.settings.samples import SampleBounds
from jobmeter.store.samples.reader import SampleStoreReader
from jobmeter.store.samples.writer import SampleStoreWriter

SECOND = 10**9
START = 1_700_000_000 * SECOND
CPU = Metric("cpu", "seconds", Kind.COUNTER, "Processor time.")
MEMORY = Metric("memory", "bytes", Kind.GAUGE, "Memory in use.")
METRICS = (CPU, MEMORY)
JOB = JobIdentity("slurm", "c1", "4711")


class SetClock:
    """A clock that is set."""

    def __init__(self, time_ns: int = START) -> None:
        self.time_ns = time_ns

    def now(self) -> datetime:
        return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=self.time_ns // 1000)


def sample(  # noqa: PLR0917
    second: float,
    values: Sequence[Value] = (1, 2),
    job: JobIdentity | None = JOB,
    node: str = "n1",
    metrics: Sequence[str] = ("cpu", "memory"),
    involved: tuple[JobIdentity, ...] = (),
    since_ns: int | None = None,
) -> Sample:
    time_ns = START + int(second * SECOND)
    return Sample("cgroup", node, job, time_ns, tuple(metrics), tuple(values), "", since_ns, involved)


def batch(*samples: Sample) -> SampleBatch:
    return SampleBatch("n1", samples, METRICS)


@contextmanager
def opened(folder: Path, clock: SetClock | None = None, **bounds: float) -> Iterator[SampleStoreWriter]:
    writer = SampleStoreWriter(folder, SampleBounds(**bounds), SetClock() if clock is None else clock)  # type: ignore[arg-type]
    try:
        yield writer
    finally:
        writer.close()


def asked(folder: Path, **question: object) -> list[SampleTable]:
    reader = SampleStoreReader(folder)
    try:
        return list(reader.tables(SampleQuestion(**question)))  # type: ignore[arg-type]
    finally:
        reader.close()


def column(table: SampleTable, metric: str, form: str = "value") -> list[Value]:
    (found,) = [list(one.values) for one in table.columns if one.metric.name == metric and one.form == form]
    return found


def seconds(table: SampleTable) -> list[float]:
    return [(time_ns - START) / SECOND for time_ns in table.times_ns]
