"""Connections to PostgreSQL: how they are made, whether they still live, and what their faults mean."""

from __future__ import annotations

import logging
import select
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import psycopg
from psycopg.pq import ExecStatus, TransactionStatus

from jobmeter.contract import StoreUnavailable
from jobmeter.store.fault import SchemaUnfit
from jobmeter.store.packed import teach
from jobmeter.store.schema import VERSION_TABLE, require_head

log = logging.getLogger("jobmeter.store")

Connection = psycopg.Connection[Any]

OLDEST_VERSION = 130000
CONNECT_SECONDS = 2

# Liveness over a network: a peer that vanished without a word is noticed within half a minute instead of two hours.
_SETTINGS = {
    "application_name": "jobmeter",
    "client_encoding": "UTF8",
    "connect_timeout": str(CONNECT_SECONDS),
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}


@contextmanager
def answering() -> Iterator[None]:
    """Turns what psycopg raises for an absent, full, read-only or broken server into StoreUnavailable.

    OperationalError holds the SQLSTATE classes 08, 40, 53, 55, 57 and 58; InternalError 25 (a server that became
    read-only) and XX; InterfaceError a connection that was closed under us.
    """
    try:
        yield
    except (psycopg.OperationalError, psycopg.InternalError, psycopg.InterfaceError) as fault:
        raise StoreUnavailable(f"PostgreSQL: {str(fault).strip()}") from fault


def connect(url: str, *, reading: bool) -> Connection:
    """A new connection to a database whose schema is the present one.

    For `reading`, each transaction is read-only and sees one state. Else each statement is a transaction of its own,
    ends within 30 seconds, and is durable when it returns, whatever the server's default.
    Raises StoreUnavailable, SchemaUnfit.
    """
    with answering():
        connection = psycopg.connect(url, autocommit=not reading, **_SETTINGS)  # type: ignore[arg-type]
        try:
            _configure(connection, reading=reading)
        except BaseException:
            connection.close()
            raise
    return connection


def _configure(connection: Connection, *, reading: bool) -> None:
    if connection.info.server_version < OLDEST_VERSION:
        raise SchemaUnfit(f"PostgreSQL 13 or newer is needed, this is {connection.info.server_version // 10000}")
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise SchemaUnfit(f"the database's encoding is {encoding}, UTF8 is needed: create it with ENCODING 'UTF8'")
    there = connection.execute("SELECT to_regclass(%s) IS NOT NULL", (VERSION_TABLE,)).fetchone()
    row = connection.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone() if there and there[0] else None  # noqa: S608
    require_head(None if row is None else row[0])
    if reading:
        connection.rollback()
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        connection.prepare_threshold = None
    else:
        connection.execute(
            "SELECT set_config('statement_timeout', '30s', false), CASE current_setting('synchronous_commit') "
            "WHEN 'off' THEN set_config('synchronous_commit', 'on', false) END"
        )
        teach(connection)


def alive(connection: Connection) -> bool:
    """Whether an idle connection is still usable: a server that went away has left a farewell on the socket."""
    if connection.closed or connection.info.transaction_status != TransactionStatus.IDLE:
        return False
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return not poll.poll(0)


def end(connection: Connection) -> None:
    """Close `connection`; a statement still running there is asked to stop."""
    if not connection.closed and connection.info.transaction_status == TransactionStatus.ACTIVE:
        try:
            connection.cancel_safe(timeout=CONNECT_SECONDS)
        except psycopg.Error as fault:
            log.debug("store.cancel_failed reason=%s", fault)
    connection.close()


def answer_within(connection: Connection, seconds: float) -> None:
    """Have the server answer an empty question. Longer than `seconds`: StoreUnavailable, and the connection is closed.

    psycopg itself waits without limit for a server that is stopped but still connected.
    """
    deadline = monotonic() + seconds
    link = connection.pgconn
    link.send_query(b"SELECT 1")
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    while link.is_busy():
        if not poll.poll(max(0.0, deadline - monotonic()) * 1000):
            connection.close()
            raise StoreUnavailable(f"PostgreSQL did not answer within {seconds:g} s")
        link.consume_input()
    while (result := link.get_result()) is not None:
        if result.status != ExecStatus.TUPLES_OK:
            raise StoreUnavailable(f"PostgreSQL: {result.get_error_message()}")
