"""Reading from SQLite: bodies, rows with their places, any statement."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Select
from sqlalchemy.dialects import sqlite as sqlite_dialect

from jobmeter.model.question import Question
from jobmeter.store.archive.ledger import Execute
from jobmeter.store.archive.shelf import Session
from jobmeter.store.past import rows_at
from jobmeter.store.probe import SqliteProbe
from jobmeter.store.sqlite_facets import interned
from jobmeter.store.statement import Resolve, View, compiled, select_bodies, select_rows, written

_DIALECT = sqlite_dialect.dialect(paramstyle="named")


def bodies(reader: sqlite3.Connection, question: Question) -> Iterator[bytes]:
    """The bodies that answer `question`, in its order."""
    for statement in select_bodies(question, _view(reader, question)):
        for (body,) in reader.execute(*compiled(statement, _DIALECT)):
            yield body


def read_rows(reader: sqlite3.Connection, question: Question) -> Generator[tuple[Any, int, bytes]]:
    """The same, each behind the two parts of its place in the order."""
    for statement in select_rows(question, _view(reader, question)):
        yield from reader.execute(*compiled(statement, _DIALECT))


def executing(connection: sqlite3.Connection) -> Execute:
    """What runs a statement on this connection."""
    return lambda statement: connection.execute(*written(statement, _DIALECT)).fetchall()


def session_of(connection: sqlite3.Connection) -> Session:
    """What a mover of records works with."""
    return Session(
        executing(connection),
        lambda statement: connection.execute(*written(statement, _DIALECT)),
        lambda signature: interned(connection, signature),
    )


def _view(reader: sqlite3.Connection, question: Question) -> View:
    rows = rows_at(question.as_of_us)
    return View(rows, SqliteProbe(rows), resolver(reader))


def resolver(reader: sqlite3.Connection) -> Resolve:
    """What looks up dictionary numbers on this connection."""

    def resolve(numbers: Select[tuple[int]]) -> list[int]:
        return [no for (no,) in reader.execute(*compiled(numbers, _DIALECT))]

    return resolve


@contextmanager
def snapshot(reader: sqlite3.Connection) -> Iterator[None]:
    """All that is read within is of one state; what goes wrong ends the connection, and with it the transaction."""
    reader.execute("BEGIN")
    yield
    reader.execute("COMMIT")
