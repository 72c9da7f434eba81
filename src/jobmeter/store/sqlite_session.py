"""Connections to SQLite: how they are made, and what their faults mean."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from jobmeter.contract import StoreUnavailable
from jobmeter.store.schema import VERSION_TABLE, require_head
from jobmeter.store.sqlite_sums import teach

# The log is folded back into the file each time it has grown by 32 MiB (4,096 pages of 8 KiB), and cut to 64 MiB after
# a long reader has let it grow: measured, a limit of 8 MiB takes a third off the rate of bulk inserts.
WRITER_SETTINGS = ("synchronous=FULL", "wal_autocheckpoint=4096", "journal_size_limit=67108864", "cache_size=-65536")
READER_SETTINGS = ("query_only=1", "mmap_size=17179869184", "cache_size=-8192")


@contextmanager
def answering() -> Iterator[None]:
    """Turns what SQLite says of a missing, full, broken or busy database into StoreUnavailable."""
    try:
        yield
    except sqlite3.DatabaseError as fault:
        # SQLITE_ERROR is a mistake in our own statement; constraint and interface errors have classes of their own.
        code = getattr(fault, "sqlite_errorcode", sqlite3.SQLITE_IOERR) & 0xFF
        if code == sqlite3.SQLITE_ERROR or isinstance(fault, sqlite3.IntegrityError | sqlite3.ProgrammingError):
            raise
        raise StoreUnavailable(f"SQLite: {fault}") from fault


def connect(path: Path, mode: str, settings: Sequence[str], busy_seconds: float) -> sqlite3.Connection:
    """A connection in `mode` "rw" or "ro". Readers get bytes for text: bodies go out as they are stored."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=busy_seconds,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        for setting in settings:
            connection.execute(f"PRAGMA {setting}")
    except BaseException:
        connection.close()
        raise
    teach(connection)
    if mode == "ro":
        connection.text_factory = bytes
    return connection


def check_schema(connection: sqlite3.Connection) -> None:
    """Return when the schema is the present one, else raise SchemaUnfit."""
    (there,) = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = ?", (VERSION_TABLE,)).fetchone()
    row = connection.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone() if there else None  # noqa: S608
    require_head(None if row is None else row[0])
