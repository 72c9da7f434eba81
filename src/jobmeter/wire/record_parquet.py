"""Records as one Parquet file with typed, nested columns, for data frames. DuckDB writes it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

OBJECT_BYTES_MAX = 64 * 2**20
"""The largest record that is read; the largest that is taken in has two million bytes, and escapes make it longer."""

_COLUMNS = """{
    record_id: 'VARCHAR', start_time: 'TIMESTAMPTZ', stop_time: 'TIMESTAMPTZ', runtime: 'BIGINT',
    meta: 'MAP(VARCHAR, VARCHAR[])',
    components: 'STRUCT("name" VARCHAR, amount BIGINT, scores STRUCT("name" VARCHAR, "value" DOUBLE)[])[]'
}"""


class ParquetNotInstalled(Exception):  # noqa: N818 - the name says the fact
    """DuckDB is not there; the message says how to install it."""


def write_parquet(pieces: Iterable[bytes], path: Path) -> None:
    """Write the records of `pieces` (JSON lines, whole records in each) to `path`, which must not exist.

    Columns: record_id, start_time and stop_time (UTC, microseconds), runtime (seconds), meta (map of lists),
    components (list of name, amount, scores). Memory stays flat however many there are. Raises ParquetNotInstalled,
    what `pieces` raises, and OSError when the disk is full.
    """
    try:
        import duckdb  # noqa: PLC0415 - an extra, and 100 ms
    except ModuleNotFoundError as fault:
        raise ParquetNotInstalled("Parquet needs DuckDB: pip install 'jobmeter[archive]'") from fault

    reading, writing = os.pipe()
    settings: dict[str, str | bool | int | float | list[str]] = {
        "threads": 1,
        "memory_limit": "512MB",
        "temp_directory": str(path.parent),
    }
    with duckdb.connect(config=settings) as database, ThreadPoolExecutor(1, "jobmeter-parquet") as thread:
        feeding = thread.submit(_feed, pieces, writing)
        failed: str | None = None
        try:
            database.execute(
                f"COPY (SELECT * FROM read_json($source, format = 'newline_delimited', columns = {_COLUMNS}, "  # noqa: S608 - constants
                f"maximum_object_size = {OBJECT_BYTES_MAX})) TO $target (FORMAT parquet, COMPRESSION zstd)",
                {"source": f"/dev/fd/{reading}", "target": str(path)},
            )
        except duckdb.Error as told:
            failed = f"DuckDB: {told}"
        finally:
            os.close(reading)
        feeding.result()
        if failed is not None:
            raise OSError(failed)


def _feed(pieces: Iterable[bytes], descriptor: int) -> None:
    """Write until the end, or until nobody reads any more."""
    with suppress(BrokenPipeError), open(descriptor, "wb", buffering=0) as pipe:
        for piece in pieces:
            view = memoryview(piece)
            while view:
                view = view[pipe.write(view) :]
