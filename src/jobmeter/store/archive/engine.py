"""DuckDB, which writes and reads the files. It lives in the process, holds no data of its own and no rights."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Any

from jobmeter.contract import StoreUnavailable

if TYPE_CHECKING:
    import duckdb

MEMORY_LIMIT = "256MB"
"""Of DuckDB in one process; larger sorts go to a temporary folder."""

ROWS_AT_ONCE = 1024
"""How many rows are taken from DuckDB at a time: half of what it works on at once."""


class Engine:
    """One database in memory, opened when it is first needed; threads may share it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._database: duckdb.DuckDBPyConnection | None = None
        self._closed = False

    def rows(self, statement: str, values: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """The rows of a SELECT, as they come. Raises StoreUnavailable for a file that is gone or broken, or no room."""
        with self.cursor() as cursor, self.answering():
            cursor.execute(statement, list(values))
            while found := cursor.fetchmany(ROWS_AT_ONCE):
                yield from found

    @contextmanager
    def cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection of one's own to the shared database."""
        cursor = self._opened().cursor()
        try:
            yield cursor
        finally:
            cursor.close()

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Turns what DuckDB says of files and resources into StoreUnavailable, of too large numbers OverflowError."""
        import duckdb  # noqa: PLC0415 - see _opened

        try:
            yield
        except (duckdb.IOException, duckdb.InvalidInputException, duckdb.OutOfMemoryException) as fault:
            raise StoreUnavailable(f"archive: {fault}") from fault
        except (duckdb.OutOfRangeException, duckdb.ConversionException) as fault:
            raise OverflowError(str(fault)) from fault
        except duckdb.Error as fault:
            if isinstance(fault, duckdb.BinderException | duckdb.ParserException | duckdb.CatalogException):
                raise
            raise StoreUnavailable(f"archive: {fault}") from fault

    def close(self) -> None:
        """End it; cursors that are still in use are ended by their users."""
        with self._lock:
            self._closed = True
            if self._database is not None:
                self._database.close()
            self._database = None

    def _opened(self) -> duckdb.DuckDBPyConnection:
        with self._lock:
            if self._closed:
                raise StoreUnavailable("the store is closed")
            if self._database is None:
                self._database = _open()
            return self._database


def _open() -> duckdb.DuckDBPyConnection:
    try:
        import duckdb  # noqa: PLC0415 - an extra, and 100 ms: only where there is an archive
    except ModuleNotFoundError as fault:
        raise StoreUnavailable("the archive needs DuckDB: pip install 'jobmeter[archive]'") from fault
    # One thread: rows come in the order of the file, and a question never takes all cores from the server.
    return duckdb.connect(
        config={
            "threads": 1,
            "memory_limit": MEMORY_LIMIT,
            "temp_directory": tempfile.gettempdir(),
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "preserve_insertion_order": True,
        }
    )
