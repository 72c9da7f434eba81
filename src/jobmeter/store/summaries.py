"""Summaries of jobs, and which records are of which jobs, in tables of the record store's database."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, Row, bindparam, delete, insert, select, text, update
from sqlalchemy.dialects import postgresql, sqlite

from jobmeter.keeping import JobKey, JobPart, NamedRecord
from jobmeter.model.adding import added, is_apart, parts_of, rank
from jobmeter.model.job import JobIdentity
from jobmeter.model.summary import JobSummary
from jobmeter.store.connections import Connections
from jobmeter.store.core import KEY_LIMIT_BYTES
from jobmeter.store.tables import job_summaries, record_jobs

_WAITING, _JOINED, _GIVEN_UP = range(3)
_SUMMARIES_MAX = 1000
"""Of one job so many summaries are answered."""
_PARAMETERS = 400

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(JobSummary).decode
_TABLE = job_summaries.c


_INSERT = insert(job_summaries)
_ITS = update(job_summaries).where(_TABLE.no == bindparam("its_no"))
_REPLACE = _ITS.values({name: bindparam(name) for name in ("last_ns", "body", "state", "record_id")})
_SETTLE = _ITS.values({"state": _JOINED, "record_id": bindparam("record_id")})

_ANY = select(_TABLE.no).limit(1)
_IDS = 5000
_OF_RECORDS = MappingProxyType(
    {
        "sqlite": text(
            "SELECT manager, job FROM job_summaries WHERE record_id IN (SELECT value FROM json_each(:ids)) ORDER BY no"
        ),
        "postgresql": text("SELECT manager, job FROM job_summaries WHERE record_id = ANY(:ids) ORDER BY no"),
    }
)
"""The ids are one parameter: a list of parameters is made into a statement anew each time, at 6 us an id."""


class _Place(NamedTuple):
    """Where a summary is kept: its job, and when its samples begin."""

    manager: str
    cluster: str
    job: str
    run: int
    first_ns: int


class Summaries:
    """The `jobmeter.keeping.SummaryStore` at `url`, whose schema must be the present one."""

    def __init__(self, url: str) -> None:
        self._connections = Connections(url)

    def put(self, summaries: Sequence[tuple[JobSummary, str | None]]) -> None:
        """See SummaryStore."""
        with self._connections.opened() as connection:
            _put(connection, summaries)

    def of_record(self, record_id: str) -> JobSummary | None:
        """See SummaryStore."""
        found = select(_TABLE.body, _TABLE.state).where(_TABLE.record_id == record_id)
        with self._connections.opened() as connection:
            rows = connection.execute(found.order_by(_TABLE.run, _TABLE.no).limit(_SUMMARIES_MAX)).all()
        if joined := [_decode(row.body) for row in rows if row.state == _JOINED]:
            return added(parts_of(joined))
        return max(map(_decode, (row.body for row in rows)), key=lambda one: (one.job.run, rank(one)), default=None)

    def of_job(self, manager: str, cluster: str | None, job: str) -> list[JobSummary]:
        """See SummaryStore."""
        found = select(_TABLE.body).where(_TABLE.manager == manager, _TABLE.job == job)
        if cluster is not None:
            found = found.where(_TABLE.cluster == cluster)
        ordered = found.order_by(_TABLE.cluster, _TABLE.run, _TABLE.first_ns).limit(_SUMMARIES_MAX)
        with self._connections.opened() as connection:
            rows = connection.execute(ordered).all()
        return [_decode(row.body) for row in rows]

    def name_records(self, named: Sequence[NamedRecord]) -> None:
        """See SummaryStore."""
        rows = [
            {
                "job": one.job.job,
                "manager": one.job.manager,
                "cluster": one.job.cluster,
                "record_id": one.record_id,
                "ended_us": one.ended_us,
            }
            for one in named
            if len(one.record_id.encode()) <= KEY_LIMIT_BYTES
        ]
        if not rows:
            return
        with self._connections.opened() as connection:
            kind = sqlite if connection.dialect.name == "sqlite" else postgresql
            connection.execute(kind.insert(record_jobs).on_conflict_do_nothing(), rows)

    def records_of(self, job: JobIdentity) -> list[str]:
        """See SummaryStore."""
        table = record_jobs.c
        found = select(table.record_id, table.cluster).where(table.manager == job.manager, table.job == job.job)
        with self._connections.opened() as connection:
            rows = connection.execute(found.limit(_SUMMARIES_MAX)).all()
        return [row.record_id for row in rows if not (row.cluster and job.cluster) or row.cluster == job.cluster]

    def waiting(self, after: int, limit: int) -> list[tuple[int, JobKey]]:
        """See SummaryStore."""
        found = select(_TABLE.no, _TABLE.manager, _TABLE.job).where(_TABLE.state == _WAITING, _TABLE.no > after)
        with self._connections.opened() as connection:
            rows = connection.execute(found.order_by(_TABLE.no).limit(limit)).all()
        return [(row.no, (row.manager, row.job)) for row in rows]

    def jobs_of_records(self, record_ids: Sequence[str]) -> list[JobKey]:
        """See SummaryStore. It is asked of every record that comes, so an account without summaries pays nothing."""
        found: dict[JobKey, None] = {}
        with self._connections.opened() as connection:
            if connection.execute(_ANY).first() is None:
                return []
            asked = _OF_RECORDS[connection.dialect.name]
            for at in range(0, len(record_ids), _IDS):
                rows = connection.execute(asked, {"ids": _list(connection, record_ids[at : at + _IDS])})
                found |= dict.fromkeys((row.manager, row.job) for row in rows)
        return list(found)

    def parts(self, jobs: Sequence[JobKey]) -> list[JobPart]:
        """See SummaryStore."""
        wanted = set(jobs)
        parts: dict[JobKey, JobPart] = {}
        with self._connections.opened() as connection:
            for some in _parted([job for _, job in wanted]):
                found = select(_TABLE.no, _TABLE.manager, _TABLE.job, _TABLE.body).where(_TABLE.job.in_(some))
                for row in connection.execute(found.order_by(_TABLE.no)):
                    if (row.manager, row.job) in wanted:
                        _part(parts, (row.manager, row.job)).summaries.append((row.no, _decode(row.body)))
                named = select(record_jobs).where(record_jobs.c.job.in_(some))
                for row in connection.execute(named.order_by(record_jobs.c.record_id)):
                    if (row.manager, row.job) in parts:
                        _part(parts, (row.manager, row.job)).records[row.record_id] = row.cluster
        return list(parts.values())

    def settle(self, joined: Mapping[int, str]) -> None:
        """See SummaryStore."""
        if not joined:
            return
        with self._connections.opened() as connection:
            connection.execute(
                _SETTLE, [{"its_no": number, "record_id": record_id} for number, record_id in joined.items()]
            )

    def give_up(self, before_ns: int) -> int:
        """See SummaryStore."""
        old = (_TABLE.state == _WAITING, _TABLE.last_ns < before_ns)
        with self._connections.opened() as connection:
            connection.execute(delete(record_jobs).where(record_jobs.c.ended_us < before_ns // 1000))
            given_up: int = connection.execute(update(job_summaries).where(*old).values(state=_GIVEN_UP)).rowcount
        return given_up

    def close(self) -> None:
        """See SummaryStore."""
        self._connections.close()


def _put(connection: Connection, given: Sequence[tuple[JobSummary, str | None]]) -> None:
    """Keep summaries; of two of a job that begin at the same time, on the same node, the one that tells more."""
    held = _held(connection, {summary.job.job for summary, _ in given})
    best: dict[_Place, tuple[JobSummary, str | None]] = {}
    for summary, record_id in given:
        place, there = _place(summary, held, best)
        if there is None or rank(there) < rank(summary):
            best[place] = (summary, record_id)
    fresh, better = [], []
    for place, (summary, record_id) in best.items():
        values = {"last_ns": summary.last_ns, "body": _encode(summary), "state": _WAITING, "record_id": record_id}
        if (row := held.get(place)) is None:
            fresh.append({**place._asdict(), **values})
            continue
        if row.state == _JOINED:
            values["record_id"] = row.record_id
        better.append({"its_no": row.no, **values})
    if fresh:
        connection.execute(_INSERT, fresh)
    if better:
        connection.execute(_REPLACE, better)


def _place(
    summary: JobSummary, held: Mapping[_Place, Row[Any]], best: Mapping[_Place, tuple[JobSummary, str | None]]
) -> tuple[_Place, JobSummary | None]:
    """Where a summary is kept, and the one that is there: of the same time on the same nodes.

    What began in the same instant on other nodes is kept beside it, as of the next nanosecond.
    """
    job = summary.job
    place = _Place(job.manager, job.cluster, job.job, job.run, summary.first_ns)
    while place in best or place in held:
        there = best[place][0] if place in best else _decode(held[place].body)
        if not is_apart(summary, there):
            return place, there
        place = place._replace(first_ns=place.first_ns + 1)
    return place, None


def _held(connection: Connection, jobs: Collection[str]) -> dict[_Place, Row[Any]]:
    found: dict[_Place, Row[Any]] = {}
    for some in _parted(sorted(jobs)):
        for row in connection.execute(select(job_summaries).where(_TABLE.job.in_(some))):
            found[_Place(row.manager, row.cluster, row.job, row.run, row.first_ns)] = row
    return found


def _part(parts: dict[JobKey, JobPart], job: JobKey) -> JobPart:
    return parts.setdefault(job, JobPart([], {}))


def _list(connection: Connection, names: Sequence[str]) -> str | list[str]:
    """A list as one parameter."""
    return _encode(names).decode() if connection.dialect.name == "sqlite" else list(names)


def _parted(names: Sequence[str]) -> list[list[str]]:
    distinct = sorted(set(names))
    return [distinct[at : at + _PARAMETERS] for at in range(0, len(distinct), _PARAMETERS)]
