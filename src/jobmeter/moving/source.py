"""An AUDITOR database, read only: one snapshot at a time, streamed by a cursor of the server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, NamedTuple

import psycopg
from psycopg import sql
from psycopg.types.string import ByteaBinaryLoader

from jobmeter.moving.statements import AMONG, EVERY, NEWER, Schema

ROWS_AT_ONCE = 2000
OVERLAP = "10 minutes"
"""A write that began before a snapshot and ended after it is found by the next one: so far back that one looks."""

_SETTINGS = {
    "application_name": "jobmeter migrate",
    "client_encoding": "UTF8",
    "connect_timeout": "10",
    "options": "-c default_transaction_read_only=on -c timezone=UTC -c datestyle=ISO -c statement_timeout=0"
    " -c extra_float_digits=3 -c cursor_tuple_fraction=1 -c idle_in_transaction_session_timeout=0",
}


class NoAuditorDatabase(Exception):  # noqa: N818 - the name says the fact
    """The database has no tables of AUDITOR, or they cannot be read with these rights; the message says which."""


class SourceAway(Exception):  # noqa: N818
    """The database does not answer now, or broke off."""


class Row(NamedTuple):
    """A row of the main table; `body` is the record's JSON, put together but not checked."""

    id: int
    updated: str
    body: bytes


class Place(NamedTuple):
    """A month of stop times (`2024-03`, or `running`) and a site ("" where the record names none)."""

    month: str
    site: str


class Sums(NamedTuple):
    """What records add up to. `amount` adds all components' amounts: no quantity, a number to compare by."""

    records: int = 0
    components: int = 0
    amount: Decimal = Decimal(0)

    def plus(self, other: Sums) -> Sums:
        """Both together."""
        return Sums(self.records + other.records, self.components + other.components, self.amount + other.amount)


class Snapshot:
    """One unchanging view of the source. Methods raise SourceAway."""

    def __init__(self, connection: psycopg.Connection[Any], schema: Schema) -> None:
        self._connection = connection
        self.schema = schema
        # Also fixes the snapshot: it begins with the first statement.
        (self.changes_from,) = self._one(f"SELECT (clock_timestamp() - interval '{OVERLAP}')::text")
        (self.count,) = self._one(schema.columns.count)

    def rows(self, after: int, since: str | None) -> Iterator[Row]:
        """Rows in the order of their ids: those behind `after`, and those that changed since the moment `since`."""
        picked = NEWER if since is not None else "a.id > %(after)s"
        yield from self._rows(picked, "a.id", {"after": after, "since": since})

    def rows_by_record_id(self) -> Iterator[Row]:
        """All rows, in the byte order of their record ids."""
        yield from self._rows(EVERY, 'a.record_id COLLATE "C"', {})

    def sums(self, ids: Sequence[int] | None = None) -> dict[Place, Sums]:
        """What the rows (those of `ids`) add up to, per month and site, worked out by the database itself."""
        picked = EVERY if ids is None else AMONG
        statement = self.schema.columns.sums.format(picked=picked)
        with told(), self._connection.cursor(binary=True) as cursor:
            cursor.execute(statement.encode(), {"ids": None if ids is None else list(ids)})
            return {
                Place(_text(month), _text(site)): Sums(records, components, amount)
                for month, site, records, components, amount in cursor
            }

    def _rows(self, picked: str, order: str, values: Mapping[str, object]) -> Iterator[Row]:
        statement = f"{self.schema.columns.rows.format(picked=picked)} ORDER BY {order}"
        with told(), self._connection.cursor("jobmeter_rows", binary=True) as cursor:
            cursor.itersize = ROWS_AT_ONCE
            cursor.execute(statement.encode(), values)
            for number, updated, record_id, meta, components, start, stop in cursor:
                yield Row(number, _text(updated), _body(record_id, meta, components, start, stop))

    def _one(self, statement: str) -> tuple[Any, ...]:
        with told(), self._connection.cursor(binary=True) as cursor:
            (row,) = cursor.execute(statement.encode()).fetchall()
            return tuple(_text(value) if isinstance(value, bytes) else value for value in row)


class AuditorDatabase:
    """The AUDITOR database at a libpq address. Raises SourceAway, NoAuditorDatabase."""

    def __init__(self, url: str) -> None:
        self._url = url
        with self._connected() as connection:
            self.schema = _schema(connection)

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """A view that does not change within. Raises SourceAway."""
        with self._connected() as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            yield Snapshot(connection, self.schema)

    @contextmanager
    def _connected(self) -> Iterator[psycopg.Connection[Any]]:
        with told():
            connection = psycopg.connect(self._url, **_SETTINGS)  # type: ignore[arg-type]
        # Text stays as it is stored: a database in SQL_ASCII may hold what is no UTF-8, and that spoils one row only.
        connection.adapters.register_loader("text", ByteaBinaryLoader)
        try:
            yield connection
        finally:
            connection.close()


@contextmanager
def told() -> Iterator[None]:
    """Turns what psycopg raises into SourceAway, and missing tables or rights into NoAuditorDatabase."""
    try:
        yield
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as no:
        raise NoAuditorDatabase(str(no).strip()) from no
    except psycopg.Error as fault:
        raise SourceAway(str(fault).strip() or type(fault).__name__) from fault


def _schema(connection: psycopg.Connection[Any]) -> Schema:
    with told(), connection.cursor(binary=True) as cursor:
        for schema in Schema:  # the newer first: while AUDITOR migrates, the older may still be there
            found = cursor.execute("SELECT to_regclass(%s) IS NOT NULL", (schema.value,)).fetchone()
            if found is not None and found[0]:
                table = sql.Identifier(schema.value)
                cursor.execute(sql.SQL("SELECT record_id, start_time, updated_at FROM {} LIMIT 0").format(table))
                return schema
    raise NoAuditorDatabase("the database has neither of AUDITOR's tables, auditor_accounting and accounting")


def _body(record_id: bytes, meta: bytes | None, components: bytes | None, start: bytes, stop: bytes | None) -> bytes:
    return b'{"record_id":%b,"meta":%b,"components":%b,"start_time":"%b","stop_time":%b}' % (
        record_id,
        b"null" if meta is None else meta,
        b"[]" if components is None or components == b"null" else components,
        _zoned(start),
        b"null" if stop is None else b'"%b"' % _zoned(stop),
    )


def _zoned(moment: bytes) -> bytes:
    """The moment as RFC 3339 where it is one; the database writes UTC as `+00`."""
    return moment[:-3] + b"Z" if moment.endswith(b"+00") else moment


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "replace")
