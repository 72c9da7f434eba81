"""Facility documents in the tables of the record store, SQLite or PostgreSQL alike.

Documents are kept as they came, beside the columns that questions are asked of. Who used the facility on which day is
kept apart, once for each, so that counting people needs no document and outlives them.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import sqlalchemy
from msgspec import Struct
from sqlalchemy import Connection, Engine, Select, delete, distinct, event, func, select
from sqlalchemy.dialects import postgresql, sqlite

from jobmeter.contract import StoreUnavailable
from jobmeter.model.facility import (
    ACCESS_OF_KIND,
    Clusters,
    DocumentQuestion,
    Received,
    Seen,
    Sight,
    Span,
    UserCount,
)
from jobmeter.model.record import from_microseconds, microseconds
from jobmeter.store.address import sqlite_path
from jobmeter.store.document_tables import document_users, documents

_SECONDS = 5
_OPTIONS = "-c statement_timeout=60s -c synchronous_commit=on"
_EPOCH_DAY = date(1970, 1, 1)
_PRUNED_AT_ONCE = 10_000
_PEOPLE_REMEMBERED_MAX = 100_000


class _People(Struct):
    users: tuple[str, ...] = ()


_people = msgspec.json.Decoder(_People).decode
_STARTED = ("running", "finished")
_COLUMNS = ("received_us", "observed_us", "kind", "cluster", "node", "subject", "state", "identity", "body")
_INSERT = "INSERT INTO documents ({columns}) VALUES ({marks}) ON CONFLICT (identity) DO NOTHING"


class Documents:
    """The DocumentStore of the contract at `url`, whose schema must be the present one. Connects when it is asked."""

    def __init__(self, url: str) -> None:
        self._engine = _engine(url)
        self._changed = threading.Condition()
        self._asking = 0
        self._stored_people: set[tuple[int, str, str, str]] = set()
        is_postgresql = self._engine.dialect.name == "postgresql"
        self._insert_users = (postgresql if is_postgresql else sqlite).insert(document_users).on_conflict_do_nothing()
        # In the driver's words, as building each statement anew costs more than the database needs to execute it.
        self._insert = _INSERT.format(
            columns=", ".join(_COLUMNS), marks=", ".join(["%s" if is_postgresql else "?"] * len(_COLUMNS))
        )

    def keep(self, received: Sequence[Received]) -> None:
        """See DocumentStore."""
        people = {
            (_day(document.observed), document.cluster, access.value, user)
            for document in received
            if (access := ACCESS_OF_KIND.get(document.kind)) is not None
            for user in document.users
        }
        people -= self._stored_people
        with self._connected() as connection:
            connection.exec_driver_sql(self._insert, [_row(document) for document in received])
            if people:
                rows = [dict(zip(("day", "cluster", "access", "usr"), row, strict=True)) for row in sorted(people)]
                connection.execute(self._insert_users, rows)
        # The same people are told of every few minutes. Only after the commit it is known that they are stored.
        if len(self._stored_people) > _PEOPLE_REMEMBERED_MAX:
            self._stored_people.clear()
        self._stored_people |= people

    def find(self, question: DocumentQuestion) -> list[Received]:
        """See DocumentStore."""
        table = documents.c
        chosen = _within(select(documents), question.clusters, question.cluster, question.span)
        if question.kind is not None:
            chosen = chosen.where(table.kind == question.kind)
        if question.node is not None:
            chosen = chosen.where(table.node == question.node)
        if question.before is not None:
            chosen = chosen.where(table.seq < question.before)
        return self._documents(chosen.order_by(table.seq.desc()).limit(question.limit))

    def after(self, number: int, limit: int) -> list[Received]:
        """See DocumentStore."""
        table = documents.c
        return self._documents(select(documents).where(table.seq > number).order_by(table.seq).limit(limit))

    def newest(self, clusters: Clusters, cluster: str | None, kinds: Sequence[str], since: datetime) -> list[Received]:
        """See DocumentStore."""
        table = documents.c
        place = func.row_number().over(
            partition_by=(table.cluster, table.kind, table.node, table.subject),
            order_by=(table.observed_us.desc(), table.seq.desc()),
        )
        inner = select(documents, place.label("place")).where(
            table.kind.in_(kinds), table.observed_us >= microseconds(since)
        )
        ranked = _within(inner, clusters, cluster, None).subquery()
        wanted = select(*(ranked.c[column.name] for column in table)).where(ranked.c.place == 1)
        ordered = wanted.order_by(ranked.c.cluster, ranked.c.kind, ranked.c.node, ranked.c.subject)
        return self._documents(ordered)

    def series(self, clusters: Clusters, cluster: str | None, kind: str, span: Span) -> Iterator[Received]:
        """See DocumentStore."""
        chosen = _within(select(documents), clusters, cluster, span).where(documents.c.kind == kind)
        with self._connected() as connection:
            rows = connection.execution_options(stream_results=True).execute(chosen.order_by(documents.c.observed_us))
            for row in rows:
                yield _received(row)

    def users(self, clusters: Clusters, cluster: str | None, days: Sequence[tuple[date, date]]) -> list[UserCount]:
        """See DocumentStore."""
        found = []
        with self._connected() as connection:
            for start, stop in days:
                found.append(_count(connection, clusters, cluster, start, stop))
        return found

    def seen(self, clusters: Clusters, cluster: str | None, span: Span) -> Iterator[Seen]:
        """See DocumentStore."""
        for document in self.series(clusters, cluster, "ssh", span):
            yield Seen(document.node or "", document.observed, _people(document.body).users)

    def sights(self, clusters: Clusters, cluster: str | None, span: Span) -> list[Sight]:
        """See DocumentStore."""
        table = documents.c
        idle = func.min(sqlalchemy.case((table.state == "idle", table.observed_us)))
        started = func.min(sqlalchemy.case((table.state.in_(_STARTED), table.observed_us)))
        chosen = select(table.subject, idle, started).where(table.kind == "condorjob", table.subject.is_not(None))
        grouped = _within(chosen, clusters, cluster, span).group_by(table.cluster, table.subject)
        with self._connected() as connection:
            return [
                Sight(job, _moment(waiting), _moment(running)) for job, waiting, running in connection.execute(grouped)
            ]

    def prune(self, before: datetime) -> int:
        """See DocumentStore."""
        old = select(documents.c.seq).where(documents.c.received_us < microseconds(before)).limit(_PRUNED_AT_ONCE)
        gone = 0
        while True:
            with self._connected() as connection:
                some = connection.execute(delete(documents).where(documents.c.seq.in_(old))).rowcount
            gone += some
            if some < _PRUNED_AT_ONCE:
                return gone

    def close(self) -> None:
        """See DocumentStore. Questions that are being answered in other threads are waited for, a while."""
        with self._changed:
            self._changed.wait_for(lambda: self._asking == 0, _SECONDS)
        self._engine.dispose()

    def _documents(self, chosen: Select[Any]) -> list[Received]:
        with self._connected() as connection:
            return [_received(row) for row in connection.execute(chosen)]

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        with self._changed:
            self._asking += 1
        try:
            with self._engine.begin() as connection:
                yield connection
        except (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InternalError, sqlalchemy.exc.InterfaceError) as fault:
            raise StoreUnavailable(str(fault.orig)) from fault
        except sqlalchemy.exc.TimeoutError as fault:
            raise StoreUnavailable("all database connections for documents are in use") from fault
        finally:
            with self._changed:
                self._asking -= 1
                self._changed.notify_all()


def _count(connection: Connection, clusters: Clusters, cluster: str | None, start: date, stop: date) -> UserCount:
    table = document_users.c
    days = (table.day >= (start - _EPOCH_DAY).days, table.day < (stop - _EPOCH_DAY).days)

    def counted(*columns: Any) -> Select[Any]:
        chosen = select(*columns, func.count(distinct(table.usr))).where(*days)
        if clusters is not None:
            chosen = chosen.where(table.cluster.in_(clusters))
        return chosen if cluster is None else chosen.where(table.cluster == cluster)

    total = connection.execute(counted()).scalar_one()
    by_access = connection.execute(counted(table.access).group_by(table.access)).all()
    return UserCount(start, stop, total, dict(sorted((access, number) for access, number in by_access)))


def _within(chosen: Select[Any], clusters: Clusters, cluster: str | None, span: Span | None) -> Select[Any]:
    table = documents.c
    if clusters is not None:
        chosen = chosen.where(table.cluster.in_(clusters))
    if cluster is not None:
        chosen = chosen.where(table.cluster == cluster)
    if span is not None:
        chosen = chosen.where(
            table.observed_us >= microseconds(span.start), table.observed_us < microseconds(span.stop)
        )
    return chosen


def _engine(url: str) -> Engine:
    path = sqlite_path(url)
    if path is None:
        import psycopg  # noqa: PLC0415 - an extra; SQLite needs none

        def server() -> Any:
            return psycopg.connect(url, connect_timeout=_SECONDS, options=_OPTIONS)

        return sqlalchemy.create_engine(
            "postgresql+psycopg://", creator=server, pool_size=4, max_overflow=4, pool_timeout=_SECONDS,
            pool_pre_ping=True,
        )  # fmt: skip

    def file() -> sqlite3.Connection:
        name = f"{path.absolute().as_uri()}?mode=rw"
        opened = sqlite3.connect(name, uri=True, timeout=_SECONDS, isolation_level=None, check_same_thread=False)
        opened.execute("PRAGMA synchronous=FULL")
        return opened

    engine = sqlalchemy.create_engine(
        "sqlite://", creator=file, poolclass=sqlalchemy.pool.QueuePool, pool_size=4, max_overflow=4,
        pool_timeout=_SECONDS,
    )  # fmt: skip
    # A transaction takes its lock with its first statement: writers wait for one another, none comes from reading.
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    return engine


def _row(document: Received) -> tuple[Any, ...]:
    """The values of `_COLUMNS`."""
    return (
        microseconds(document.received),
        microseconds(document.observed),
        document.kind,
        document.cluster,
        document.node,
        document.subject,
        document.state,
        document.identity,
        document.body.decode(),
    )


def _received(row: Any) -> Received:
    return Received(
        kind=row.kind,
        cluster=row.cluster,
        received=from_microseconds(row.received_us),
        observed=from_microseconds(row.observed_us),
        body=row.body.encode(),
        node=row.node,
        subject=row.subject,
        state=row.state,
        identity=row.identity,
        number=row.seq,
    )


def _day(moment: datetime) -> int:
    return (moment.astimezone(UTC).date() - _EPOCH_DAY) // timedelta(days=1)


def _moment(number: int | None) -> datetime | None:
    return None if number is None else from_microseconds(number)
