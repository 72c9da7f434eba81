"""The spool's file: created whole or not at all, brought up to date, its errors translated.

The format is SQLite's; `PRAGMA user_version` counts the migrations that were applied, `PRAGMA application_id` says that
the file is a spool. Bodies are JSON text whose `format` column names encoding and version.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

from jobmeter.deliver.days import TABLES
from jobmeter.deliver.fault import SpoolCorrupt, SpoolFault, SpoolFull, SpoolTooNew, SpoolUnavailable

APPLICATION_ID = 0x6A6D7370
"""The letters "jmsp"."""

_CORRUPT_ADVICE = (
    "move the file and its -wal and -shm companions away (`sqlite3 FILE .recover` may save entries), then start again:"
    " a new spool is made and sources are read from their beginning"
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        # An entry waits from `wait_from` to `wait_until` (microseconds since 1970) and is due outside of that span, so
        # that a clock set back cannot make it wait longer than was meant. `added_age` counts the spool's own seconds.
        """CREATE TABLE entries (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            source TEXT NOT NULL,
            format TEXT NOT NULL,
            body TEXT NOT NULL,
            added_age INTEGER NOT NULL,
            attempts INTEGER NOT NULL,
            wait_from INTEGER NOT NULL,
            wait_until INTEGER NOT NULL
        )""",
        "CREATE INDEX entries_due ON entries (wait_until, number, wait_from)",
        "CREATE TABLE cursors (source TEXT PRIMARY KEY, cursor TEXT NOT NULL) WITHOUT ROWID",
        # `format` is NULL for what a source could not turn into an entry: it cannot be sent again as it is.
        """CREATE TABLE letters (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            source TEXT NOT NULL,
            format TEXT,
            reason TEXT NOT NULL,
            body BLOB NOT NULL,
            size_bytes INTEGER NOT NULL,
            received INTEGER NOT NULL
        )""",
        # What was queued before: kind 0 a record by its id, kind 1 a refused entry by its digest, kind 2
        # a document by its identity.
        """CREATE TABLE seen (
            source TEXT NOT NULL,
            kind INTEGER NOT NULL,
            name TEXT NOT NULL,
            digest BLOB NOT NULL,
            age INTEGER NOT NULL,
            PRIMARY KEY (source, kind, name)
        ) WITHOUT ROWID""",
        "CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
        "CREATE TABLE state (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
    ),
    TABLES,
)


def open_file(path: Path, busy_seconds: float) -> sqlite3.Connection:
    """A connection to the spool at `path`, made if there is none, with every migration applied.

    Raises SpoolCorrupt, SpoolTooNew, SpoolFull or SpoolUnavailable.
    """
    try:
        if not path.exists():
            _create(path)
    except OSError as error:
        raise SpoolUnavailable(path, f"cannot be made: {error.strerror}") from error
    with translated(path), ExitStack() as undo:
        connection = _connect(path, busy_seconds)
        undo.callback(connection.close)
        _require_spool(path, connection)
        connection.execute("PRAGMA synchronous = FULL")
        _migrate(path, connection)
        undo.pop_all()
        return connection


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Faults of the database within become faults of the spool, told apart by SQLite's result code."""
    try:
        yield
    except sqlite3.Error as error:
        raise _fault(path, error) from error


def _fault(path: Path, error: sqlite3.Error) -> SpoolFault:
    # The low byte is the primary code, https://www.sqlite.org/rescode.html
    code = getattr(error, "sqlite_errorcode", None)
    primary = None if code is None else code & 0xFF
    if primary == sqlite3.SQLITE_FULL:
        return SpoolFull(path, f"no room on the disk ({error})")
    if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return SpoolCorrupt(path, f"the file is damaged ({error}); {_CORRUPT_ADVICE}")
    return SpoolUnavailable(path, f"{error}")


def _connect(path: Path, busy_seconds: float) -> sqlite3.Connection:
    # mode=rw: a file that vanished is an error, never an empty spool made in silence.
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=busy_seconds,
        isolation_level=None,
        check_same_thread=False,
    )


def _create(path: Path) -> None:
    """Make the file under another name and link it into place, so that a crash leaves no empty file behind."""
    for suffix in ("-wal", "-journal"):
        companion = path.with_name(path.name + suffix)
        if companion.exists():
            raise SpoolCorrupt(path, f"the file is gone but {companion.name} is there; {_CORRUPT_ADVICE}")
    fresh = path.with_name(f"{path.name}.new-{os.urandom(4).hex()}")
    try:
        os.close(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with translated(path), closing(_connect(fresh, 0.0)) as connection:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute("PRAGMA journal_mode = WAL")
            _migrate(path, connection)
        with suppress(FileExistsError):  # another process made it first
            os.link(fresh, path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        fresh.unlink(missing_ok=True)


def _require_spool(path: Path, connection: sqlite3.Connection) -> None:
    found: int = connection.execute("PRAGMA application_id").fetchone()[0]
    if found != APPLICATION_ID:
        raise SpoolCorrupt(path, f"the file is not a spool; name another path, or {_CORRUPT_ADVICE}")


def _migrate(path: Path, connection: sqlite3.Connection) -> None:
    if _version(path, connection) == len(MIGRATIONS):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Read again: another process may have migrated while this one waited for the lock.
        for statements in MIGRATIONS[_version(path, connection) :]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _version(path: Path, connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        raise SpoolTooNew(
            path, f"has format {version}, this version knows up to {len(MIGRATIONS)}; use the newer version"
        )
    return version
