"""Writes samples into Parquet files, one for each source, which DuckDB, pandas, Polars and Spark read.

A file gets its name once it is whole, so every file of the folder can be read at any time. Needs the extra `parquet`.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated, Literal, cast

from msgspec import Meta, Struct

from jobmeter.contract import SampleSink


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the files are, and when one is closed and the next begun."""

    folder: Annotated[
        str,
        Meta(description="Folder for `SOURCE.<epoch>.parquet`.", examples=["/var/lib/jobmeter/parquet"], min_length=1),
    ]
    file_seconds: Annotated[
        float, Meta(description="How long rows are gathered for a file; HUP closes it at once.", gt=0, le=86400)
    ] = 300.0
    file_max_bytes: Annotated[
        int,
        Meta(description="So many bytes of rows, before compression, close the files earlier.", ge=2**16, le=2**32),
    ] = 32 * 2**20
    compression: Annotated[Literal["zstd", "snappy", "gzip", "none"], Meta(description="How values are packed.")] = (
        "zstd"
    )


def open_sink(settings: Settings) -> SampleSink:
    """The sink. Raises OSError when the folder cannot be made, ModuleNotFoundError without the extra."""
    # DuckDB and numpy are an extra, and settings must be readable without it.
    writer = importlib.import_module("jobmeter.sinks.parquet.writer")
    limits = writer.Limits(settings.file_seconds, settings.file_max_bytes)
    return cast("SampleSink", writer.ParquetWriter(Path(settings.folder), limits, settings.compression))
