"""The samples of a record's job: under which identity they are, from when to when, and how they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from urllib.parse import urlencode

from msgspec import Struct

from jobmeter.keeping import SampleStore
from jobmeter.model.record import microseconds
from jobmeter.model.series import SampleQuestion, SampleTable
from jobmeter.model.summary import JobSummary
from jobmeter.serve.joined import JoinRule, jobs_named
from jobmeter.serve.samples import Visible
from jobmeter.serve.view.curves import OF_JOBS, metrics_of, step_seconds

SECOND_NS = 10**9
MARGIN_SECONDS = (2, 60)
"""A sampler may see a job a little before its accounting says that it began: a tenth of its time, from 2 s to 60 s."""


class Trace(Struct, frozen=True):
    """Where the samples of a job are: parts of its identity, and the seconds since 1970 they lie between."""

    identity: Mapping[str, str]
    first: int
    last: int

    @property
    def step(self) -> int:
        """Seconds of one point of a picture of all of it."""
        return step_seconds(self.last - self.first)

    def address(self, *, nodes: bool) -> str:
        """The query string that asks for them, without metrics, times and step."""
        return urlencode({**self.identity, **({"involving": "true"} if nodes else {})})

    def question(self, *, nodes: bool) -> SampleQuestion:
        """The same, of all of it and for all known pictures, as a value."""
        run = self.identity.get("run")
        return SampleQuestion(
            manager=self.identity["manager"],
            cluster=self.identity.get("cluster"),
            job=self.identity.get("job"),
            run=None if run is None else int(run),
            metrics=metrics_of(OF_JOBS),
            from_ns=self.first * SECOND_NS,
            to_ns=self.last * SECOND_NS,
            step_ns=self.step * SECOND_NS,
            involving=nodes,
        )


def trace_of(
    record_id: str, start: datetime, stop: datetime, summary: JobSummary | None, rules: tuple[JoinRule, ...]
) -> Trace | None:
    """Where the samples of the record's job are, None when no rule says which job that is."""
    identity = next(jobs_named(record_id, rules), None)
    began, ended = microseconds(start) // 10**6, microseconds(stop) // 10**6
    least, most = MARGIN_SECONDS
    margin = min(most, max(least, (ended - began) // 10))
    first, last = began - margin, ended + margin
    if summary is not None:
        job = summary.job
        identity = {"manager": job.manager, "cluster": job.cluster, "job": job.job, "run": str(job.run)}
        first, last = min(first, summary.first_ns // SECOND_NS), max(last, summary.last_ns // SECOND_NS + 1)
    return None if identity is None else Trace(identity, first, last)


def tables_of(samples: SampleStore, trace: Trace, visible: Visible, *, nodes: bool) -> Iterator[SampleTable]:
    """The samples as tables, those that may be seen."""
    for table in samples.tables(trace.question(nodes=nodes)):
        if visible.sees(table.series.job):
            yield table
