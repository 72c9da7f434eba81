"""Writes samples into HDF5 files in the layout of Colmet, which can be read while they are written.

A path that ends in `.hdf5` is one file, which is appended to; any other is the beginning of names: `PATH.<epoch>.hdf5`,
a new one at each start and at each HUP. Needs the extra `hdf5`.
"""

from __future__ import annotations

import importlib
from typing import Annotated, Literal, cast

from msgspec import Meta, Struct

from jobmeter.contract import SampleSink


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the files are, and how they are compressed."""

    path: Annotated[
        str,
        Meta(
            description="A file `NAME.hdf5`, or the beginning of files' names.",
            examples=["/var/lib/jobmeter/hdf5/data"],
        ),
    ]
    compression: Annotated[
        Literal["zlib", "lzf", "blosc", "bzip2", "lzo", "none"],
        Meta(description="How; blosc and bzip2 need the package hdf5plugin, which PyTables' own readers do not."),
    ] = "zlib"
    compression_level: Annotated[int, Meta(description="How much, 1 to 9; 0: not at all.", ge=0, le=9)] = 1
    write_seconds: Annotated[
        float, Meta(description="How long rows are gathered before they are written.", gt=0, le=3600)
    ] = 5.0


def open_sink(settings: Settings) -> SampleSink:
    """The sink. Raises ValueError for a compression that is not there, ModuleNotFoundError without the extra."""
    # h5py and numpy are an extra, and settings must be readable without it.
    writer = importlib.import_module("jobmeter.sinks.hdf5.writer")
    filter_ = writer.compression(settings.compression, settings.compression_level)
    return cast("SampleSink", writer.Hdf5Writer(settings.path, filter_, settings.write_seconds))
