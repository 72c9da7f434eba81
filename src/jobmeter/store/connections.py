"""Connections for the small tables beside the records (tokens, summaries), SQLite or PostgreSQL alike.

Questions are few, so SQLAlchemy's engine does for both; connections are made anew as needed, and one that went away is
found out before it is used.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy
from sqlalchemy import Connection, Engine

from jobmeter.contract import StoreUnavailable
from jobmeter.store.address import sqlite_path

_SECONDS = 5

# A token that was handed out, and above all one that was revoked, survives a crash whatever the server's default.
_OPTIONS = "-c statement_timeout=5s -c synchronous_commit=on"


class Connections:
    """The database at `url`, whose schema must be the present one. Connects when it is asked."""

    def __init__(self, url: str) -> None:
        self._engine = _engine(url)

    @contextmanager
    def opened(self) -> Iterator[Connection]:
        """One transaction, committed when the block ends well. Raises StoreUnavailable."""
        try:
            with self._engine.begin() as connection:
                yield connection
        except (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InternalError, sqlalchemy.exc.InterfaceError) as fault:
            raise StoreUnavailable(str(fault.orig)) from fault
        except sqlalchemy.exc.TimeoutError as fault:
            raise StoreUnavailable("all database connections for this are in use") from fault

    def close(self) -> None:
        """Release the connections."""
        self._engine.dispose()


def _engine(url: str) -> Engine:
    path = sqlite_path(url)
    if path is not None:

        def file() -> sqlite3.Connection:
            return sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=_SECONDS)

        return sqlalchemy.create_engine("sqlite://", creator=file, poolclass=sqlalchemy.pool.NullPool)
    import psycopg  # noqa: PLC0415 - an extra; SQLite needs none

    def server() -> Any:
        return psycopg.connect(url, connect_timeout=_SECONDS, options=_OPTIONS)

    return sqlalchemy.create_engine(
        "postgresql+psycopg://", creator=server, pool_size=2, max_overflow=2, pool_timeout=_SECONDS, pool_pre_ping=True
    )
