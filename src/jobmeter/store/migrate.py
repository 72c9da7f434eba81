"""Brings the schema of a database up to date with Alembic's steps, or tells which are pending.

Alembic is imported when a step is really to be looked at: a server whose database is up to date never pays for it.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy
from msgspec import Struct
from sqlalchemy import Connection, Engine, event, text

from jobmeter.contract import StoreUnavailable
from jobmeter.store import migrations
from jobmeter.store.address import sqlite_path
from jobmeter.store.fault import SchemaUnfit
from jobmeter.store.schema import HEAD, VERSION_TABLE, require_known

if TYPE_CHECKING:
    from alembic.config import Config

log = logging.getLogger("jobmeter.store")

_LOCK = 0x6A6F626D
"""The PostgreSQL advisory lock that keeps two migrations apart."""


class Step(Struct, frozen=True):
    """A migration: its revision and what it does, in a sentence."""

    revision: str
    title: str


def pending(url: str) -> list[Step]:
    """The steps that `upgrade` would run, oldest first. Changes nothing, creates no file.

    Raises SchemaUnfit for a database of a newer program, StoreUnavailable when it does not answer.
    """
    path = sqlite_path(url)
    if path is not None and not path.exists():
        return _steps(None)
    with _connected(url) as connection:
        return _steps(_revision(connection))


def upgrade(url: str) -> list[Step]:
    """Run the pending steps in one transaction and return them; an SQLite file is created when there is none.

    Two programs may do so at once: one waits for the other. Raises as `pending` does.
    """
    with _connected(url, create=True) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        steps = _steps(_revision(connection))
        if steps:
            from alembic import command  # noqa: PLC0415 - see the module's docstring

            command.upgrade(_config(connection), "head")
    for step in steps:
        log.info("store.migrated revision=%s", step.revision)
    return steps


def create_missing(url: str) -> bool:
    """Create the PostgreSQL database that `url` names when its server has none of that name. True when it was created.

    Needs the right to connect to the database `postgres` there and to create databases. Nothing is to be done for
    SQLite. Raises StoreUnavailable when the server does not answer or refuses.
    """
    if sqlite_path(url) is not None:
        return False
    import psycopg  # noqa: PLC0415 - an extra; SQLite needs none
    from psycopg import sql  # noqa: PLC0415

    wanted = psycopg.conninfo.conninfo_to_dict(url)
    name = str(wanted.get("dbname") or wanted.get("user") or "")
    try:
        with psycopg.connect(url, dbname="postgres", connect_timeout=5, autocommit=True) as connection:
            if connection.execute("SELECT FROM pg_database WHERE datname = %s", (name,)).fetchone() is not None:
                return False
            statement = sql.SQL("CREATE DATABASE {} ENCODING 'UTF8' TEMPLATE template0").format(sql.Identifier(name))
            connection.execute(statement)
    except psycopg.errors.DuplicateDatabase:
        return False
    except psycopg.Error as fault:
        raise StoreUnavailable(str(fault)) from fault
    log.info("store.database_created name=%s", name)
    return True


def _steps(revision: str | None) -> list[Step]:
    require_known(revision)
    if revision == HEAD:
        return []
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - see the module's docstring

    scripts = ScriptDirectory.from_config(_config(None)).iterate_revisions("head", revision or "base")
    return [Step(script.revision, script.doc) for script in reversed(list(scripts))]


def _config(connection: Connection | None) -> Config:
    from alembic.config import Config  # noqa: PLC0415 - see the module's docstring

    config = Config()
    folder = Path(migrations.__path__[0])
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _revision(connection: Connection) -> str | None:
    if not sqlalchemy.inspect(connection).has_table(VERSION_TABLE):
        return None
    found = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608 - a constant
    return None if found is None else str(found)


@contextmanager
def _connected(url: str, *, create: bool = False) -> Iterator[Connection]:
    """A connection in a transaction that ends with the block."""
    path = sqlite_path(url)
    engine = _postgresql(url) if path is None else _sqlite(path, create=create)
    try:
        with engine.begin() as connection:
            yield connection
    except sqlalchemy.exc.DBAPIError as fault:
        mistaken = getattr(fault.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR
        if mistaken or isinstance(fault, sqlalchemy.exc.ProgrammingError):
            raise SchemaUnfit(f"the tables cannot be made beside what is in the database: {fault.orig}") from fault
        raise StoreUnavailable(str(fault.orig)) from fault
    finally:
        engine.dispose()


def _postgresql(url: str) -> Engine:
    import psycopg  # noqa: PLC0415 - an extra; SQLite needs none

    return sqlalchemy.create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(url, connect_timeout=5))


def _sqlite(path: Path, *, create: bool) -> Engine:
    def connect() -> sqlite3.Connection:
        mode = "rwc" if create else "rw"
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=30, isolation_level=None
        )
        if create:
            # Both last for the life of the file. Pages of 8 KiB: fewer half-empty ones with rows of half a KiB.
            connection.execute("PRAGMA page_size=8192")
            connection.execute("PRAGMA journal_mode=WAL")
        return connection

    engine = sqlalchemy.create_engine("sqlite://", creator=connect, poolclass=sqlalchemy.pool.NullPool)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return engine
