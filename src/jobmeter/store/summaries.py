"""Summaries of jobs in a table of the record store's database, SQLite or PostgreSQL alike."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import ColumnElement, delete, insert, select

from jobmeter.model.job import JobIdentity
from jobmeter.model.summary import JobSummary
from jobmeter.store.connections import Connections
from jobmeter.store.tables import job_summaries

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(JobSummary).decode


class Summaries:
    """The `jobmeter.keeping.SummaryStore` at `url`, whose schema must be the present one."""

    def __init__(self, url: str) -> None:
        self._connections = Connections(url)

    def put(self, summaries: Sequence[tuple[JobSummary, str | None]]) -> None:
        """See SummaryStore."""
        with self._connections.opened() as connection:
            for summary, record_id in summaries:
                connection.execute(delete(job_summaries).where(*_is(summary.job)))
                values = {**msgspec.structs.asdict(summary.job), "record_id": record_id}
                connection.execute(insert(job_summaries).values(**values, body=_encode(summary)))

    def of_record(self, record_id: str) -> JobSummary | None:
        """See SummaryStore."""
        found = select(job_summaries.c.body).where(job_summaries.c.record_id == record_id)
        with self._connections.opened() as connection:
            row = connection.execute(found.order_by(job_summaries.c.run.desc()).limit(1)).one_or_none()
        return None if row is None else _decode(row.body)

    def of_job(self, manager: str, cluster: str | None, job: str) -> list[JobSummary]:
        """See SummaryStore."""
        table = job_summaries.c
        found = select(table.body).where(table.manager == manager, table.job == job)
        if cluster is not None:
            found = found.where(table.cluster == cluster)
        with self._connections.opened() as connection:
            rows = connection.execute(found.order_by(table.cluster, table.run).limit(1000)).all()
        return [_decode(row.body) for row in rows]

    def close(self) -> None:
        """See SummaryStore."""
        self._connections.close()


def _is(job: JobIdentity) -> tuple[ColumnElement[bool], ...]:
    table = job_summaries.c
    return (table.manager == job.manager, table.cluster == job.cluster, table.job == job.job, table.run == job.run)
