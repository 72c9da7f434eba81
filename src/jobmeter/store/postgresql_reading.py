"""Reading from PostgreSQL: bodies, rows with their places, any statement."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

from psycopg import capabilities
from psycopg.types.string import ByteaBinaryLoader
from sqlalchemy import Executable, Select
from sqlalchemy.dialects.postgresql import psycopg as postgresql_dialect

from jobmeter.model.question import Question
from jobmeter.store.archive.ledger import Execute
from jobmeter.store.archive.shelf import Session
from jobmeter.store.past import rows_at
from jobmeter.store.postgresql_facets import intern
from jobmeter.store.probe import PostgresqlProbe
from jobmeter.store.session import Connection
from jobmeter.store.statement import Resolve, Statement, View, compiled, select_bodies, select_rows, written

_DIALECT = postgresql_dialect.dialect()  # type: ignore[no-untyped-call]

# How many rows the driver holds at a time. A row may have 2 MiB; libpq before 17 can only give them one by one.
_ROWS_AT_ONCE = 64 if capabilities.has_stream_chunked() else 1


def bodies(reader: Connection, question: Question) -> Iterator[bytes]:
    """The bodies that answer `question`, in its order."""
    for statement in select_bodies(question, _view(reader, question)):
        for (body,) in streamed(reader, compiled(statement, _DIALECT)):
            yield body


def read_rows(reader: Connection, question: Question) -> Generator[tuple[Any, int, bytes]]:
    """The same, each behind the two parts of its place in the order."""
    for statement in select_rows(question, _view(reader, question)):
        yield from streamed(reader, compiled(statement, _DIALECT))


def streamed(reader: Connection, statement: Statement) -> Generator[tuple[Any, ...]]:
    """The rows of a statement, a few at a time."""
    with reader.cursor(binary=True) as cursor:
        # Bodies go out as they come in: never decoded.
        cursor.adapters.register_loader("text", ByteaBinaryLoader)
        yield from cursor.stream(statement.text.encode(), statement.values, size=_ROWS_AT_ONCE)


def executing(connection: Connection) -> Execute:
    """What runs a statement on this connection."""

    def execute(statement: Executable | str) -> list[Any]:
        text, values = written(statement, _DIALECT)
        cursor = connection.execute(text.encode(), values)
        return cursor.fetchall() if cursor.description else []

    return execute


def session_of(connection: Connection) -> Session:
    """What a mover of records works with."""
    return Session(
        executing(connection),
        lambda statement: streamed(connection, written(statement, _DIALECT)),
        lambda signature: intern(connection, [signature])[signature],
    )


@contextmanager
def snapshot(connection: Connection) -> Iterator[None]:
    """All that is asked on a connection for writes is of one state."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def _view(reader: Connection, question: Question) -> View:
    rows = rows_at(question.as_of_us)
    return View(rows, PostgresqlProbe(rows), resolver(reader))


def resolver(reader: Connection) -> Resolve:
    """What looks up dictionary numbers on this connection."""

    def resolve(numbers: Select[tuple[int]]) -> list[int]:
        text, values = compiled(numbers, _DIALECT)
        return [number for (number,) in reader.execute(text.encode(), values)]

    return resolve
