"""Samples in rows: what a sample store is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from jobmeter.model.job import JobIdentity
from jobmeter.model.metric import Metric
from jobmeter.model.sample import Sample

Value = int | float | None


class Series(Struct, frozen=True, order=True):
    """Names a sequence of samples that one source took of one job, or of a node (job None), with the same metrics."""

    node: str
    source: str
    job: JobIdentity | None
    instance: str
    metrics: tuple[str, ...]


class SampleQuestion(Struct, frozen=True):
    """Which samples: None and empty mean "all". Times are nanoseconds since 1970 UTC, from inclusive, to exclusive.

    A job is asked for by any part of its identity. With `involving` the samples of nodes that say that such a job was
    on them are answered too; `node_only` leaves out those of jobs. With `step_ns` there is a row per such a period.
    """

    manager: str | None = None
    cluster: str | None = None
    job: str | None = None
    run: int | None = None
    node: str | None = None
    source: str | None = None
    metrics: tuple[str, ...] = ()
    from_ns: int | None = None
    to_ns: int | None = None
    step_ns: int | None = None
    involving: bool = False
    node_only: bool = False

    @property
    def names_a_job(self) -> bool:
        """Whether some part of a job identity is asked for."""
        return not (self.manager is None and self.cluster is None and self.job is None and self.run is None)

    def is_about(self, job: JobIdentity) -> bool:
        """Whether the job has all the parts of an identity that are asked for."""
        return (
            (self.job is None or self.job == job.job)
            and (self.manager is None or self.manager == job.manager)
            and (self.cluster is None or self.cluster == job.cluster)
            and (self.run is None or self.run == job.run)
        )


def answers(sample: Sample, question: SampleQuestion) -> bool:
    """Whether a sample is one that the question asks for, but for its time."""
    if sample.job is None:
        about = not question.names_a_job or (question.involving and any(map(question.is_about, sample.involved)))
    else:
        about = not question.node_only and question.is_about(sample.job)
    return (
        about
        and question.node in (None, sample.node)
        and question.source in (None, sample.source)
        and (not question.metrics or not set(question.metrics).isdisjoint(sample.metrics))
    )


class SampleColumn(Struct, frozen=True):
    """The values of one metric in the order of the table's times; None where there was none.

    `form` says what they are: "value" as sampled; in a table of periods "mean", "min", "max", and of counters "rate"
    (units per second) and "increase" (since the period before). Without a sample in a period there is None, not zero.
    """

    metric: Metric
    form: str
    values: Sequence[Value]


class SampleTable(Struct, frozen=True):
    """Samples of one series, oldest first, no time twice; or its periods, with the time at which each begins."""

    series: Series
    times_ns: Sequence[int]
    columns: tuple[SampleColumn, ...]
    resets: int = 0
    """How often counters began anew within the answer."""


class SampleStoreState(Struct, frozen=True):
    """What a sample store holds: files, bytes at rest, and what it found damaged since it was opened."""

    segments: int
    rollups: int
    log_bytes: int
    segment_bytes: int
    rollup_bytes: int
    values: int
    oldest_ns: int | None
    newest_ns: int | None
    damaged: int = 0
