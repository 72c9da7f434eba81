"""One HDF5 file that rows are appended to. It is open only while that happens, so that everybody can read it between.

Tables are made first, then the file is switched to single-writer-multiple-reader, in which rows are added in an order
that leaves the file whole at any instant. Files are of version 1.10 of the library, which PyTables reads.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np
from msgspec import Struct

from jobmeter.sinks.hdf5.layout import filled
from jobmeter.sinks.hdf5.superblock import clear_marks

_CHUNK_BYTES = 16_384
_CHUNK_ROWS_MIN = 4
_SPARE_BYTES = 2**20
_TABLE_BYTES = 2**14
_VERSION = ("v110", "v110")
_SAME_SOURCE_MAX = 50
_SWMR_SUPERBLOCK = 3
_LOCK_TRIES, _LOCK_PAUSE_SECONDS = 20, 0.05

_NO_TMPFILE = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL)

log = logging.getLogger("jobmeter.sinks")

Rows = Mapping[tuple[str, str], tuple[np.dtype, Sequence[dict[str, object]]]]
"""Rows by group and table, each with the layout that a new table gets."""


class Compression(Struct, frozen=True):
    """A filter of HDF5 by its number, with its options; None: none."""

    number: int | None = None
    options: tuple[int, ...] = ()


class Unfinished(OSError):  # noqa: N818 - the name says the fact
    """Only these tables got their rows; the rest are still to be written."""

    def __init__(self, done: Sequence[tuple[str, str]], reason: str) -> None:
        super().__init__(reason)
        self.done = tuple(done)


class File:
    """A file that may not be there yet."""

    def __init__(self, path: Path, compression: Compression) -> None:
        self.path = path
        self._compression = compression
        self._narrower: set[str] = set()

    def append(self, rows: Rows) -> None:
        """Append all rows, durable on return. Raises Unfinished, and OSError when nothing was written."""
        self._reserve(rows)
        file = self._opened()
        done: list[tuple[str, str]] = []
        try:
            try:
                places = {key: self._place(file, *key, layout) for key, (layout, _) in rows.items()}
                if file.id.get_create_plist().get_version()[0] >= _SWMR_SUPERBLOCK:  # a file of Colmet's is older
                    file.swmr_mode = True
                for key, (_, values) in rows.items():
                    self._append(file, places[key], values)
                    done.append(key)
            finally:
                file.close()
        except (OSError, RuntimeError, ValueError, KeyError) as fault:
            raise Unfinished(done, f"{self.path}: {fault}") from fault
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _reserve(self, rows: Rows) -> None:
        """See that there is room before the library is in the middle of writing, which it takes badly."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        wanted = _SPARE_BYTES + sum(layout.itemsize * len(values) + _TABLE_BYTES for layout, values in rows.values())
        try:
            descriptor = os.open(self.path.parent, os.O_RDWR | os.O_TMPFILE, 0o600)
        except OSError as fault:
            if fault.errno not in _NO_TMPFILE:
                raise
            return
        try:
            size = self.path.stat().st_size if self.path.exists() else 0
            os.posix_fallocate(descriptor, 0, wanted)
            os.ftruncate(descriptor, 0)
            os.posix_fallocate(descriptor, size + wanted, 1)  # a limit on the size of files counts, too
        finally:
            os.close(descriptor)

    def _opened(self) -> h5py.File:
        if not self.path.exists() or not self.path.stat().st_size:
            return self._made()
        try:
            return self._locked()
        except OSError:
            if not _is_abandoned(self.path):
                raise
        if clear_marks(self.path) and self._is_whole():
            log.warning("hdf5.unclean file=%s a writer had been killed; going on in it", self.path)
            return h5py.File(self.path, "r+", libver=_VERSION)
        aside = _aside(self.path)
        log.error("hdf5.damaged file=%s moved_to=%s it cannot be opened; a new one is begun", self.path, aside)
        self.path.rename(aside)
        return self._made()

    def _locked(self) -> h5py.File:
        """The file, opened once nobody who opened it for reading has it locked; who just looks does so for moments."""
        for _ in range(_LOCK_TRIES - 1):
            try:
                return h5py.File(self.path, "r+", libver=_VERSION)
            except BlockingIOError:
                time.sleep(_LOCK_PAUSE_SECONDS)
        return h5py.File(self.path, "r+", libver=_VERSION)

    def _made(self) -> h5py.File:
        file = h5py.File(self.path, "w", libver=_VERSION)
        for name, value in (("CLASS", "GROUP"), ("TITLE", ""), ("VERSION", "1.0"), ("PYTABLES_FORMAT_VERSION", "2.1")):
            file.attrs[name] = np.bytes_(value) if value else h5py.Empty("S1")
        return file

    def _is_whole(self) -> bool:
        """Whether every table can be reached and its last row read."""
        try:
            with h5py.File(self.path, "r") as file:
                for group in file.values():
                    for table in group.values():
                        table[-1:]
        except (OSError, RuntimeError, KeyError, ValueError):
            return False
        return True

    def _place(self, file: h5py.File, group: str, table: str, layout: np.dtype) -> bytes:
        """Where rows of that layout go: the table of that name, made if need be, or one beside it."""
        if group not in file:
            made = h5py.h5g.create(file.id, group.encode())
            _attribute(made, "TITLE", group)
            _attribute(made, "CLASS", "GROUP")
            _attribute(made, "VERSION", "1.0")
        for number in range(1, _SAME_SOURCE_MAX):
            name = f"{group}/{table}" + (f"_{number}" if number > 1 else "")
            if name not in file:
                self._make_table(file, name, group, layout)
                return name.encode()
            lacking = set(layout.names or ()) - set(file[name].dtype.names or ())
            if not lacking or table.endswith("_default"):
                if lacking and table not in self._narrower:
                    self._narrower.add(table)
                    log.warning("hdf5.columns_missing table=%s columns=%s", table, ",".join(sorted(lacking)))
                return name.encode()
        raise ValueError(f"{table} has too many kinds of rows")

    def _make_table(self, file: h5py.File, name: str, group: str, layout: np.dtype) -> None:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((max(_CHUNK_ROWS_MIN, _CHUNK_BYTES // layout.itemsize),))
        if self._compression.number is not None:
            properties.set_shuffle()
            properties.set_filter(self._compression.number, h5py.h5z.FLAG_MANDATORY, self._compression.options)
        space = h5py.h5s.create_simple((0,), (h5py.h5s.UNLIMITED,))
        made = h5py.h5d.create(file.id, name.encode(), h5py.h5t.py_create(layout), space, properties)
        _attribute(made, "CLASS", "TABLE")
        _attribute(made, "VERSION", "2.7")
        _attribute(made, "TITLE", f"Metrics for the Job {group.removeprefix('job_')}")
        _attribute(made, "backend_version", 2)

    def _append(self, file: h5py.File, name: bytes, values: Sequence[dict[str, object]]) -> None:
        table = h5py.h5d.open(file.id, name)
        block = filled(table.dtype, values)
        start = table.shape[0]
        table.set_extent((start + len(block),))
        space = table.get_space()
        space.select_hyperslab((start,), (len(block),))
        table.write(h5py.h5s.create_simple((len(block),)), space, block)


def _attribute(place: object, name: str, value: str | int) -> None:
    array = np.array(value.encode() if isinstance(value, str) else value)
    kind = h5py.h5t.py_create(array.dtype)
    h5py.h5a.create(place, name.encode(), kind, h5py.h5s.create(h5py.h5s.SCALAR)).write(array)


def _is_abandoned(path: Path) -> bool:
    """Whether no living process has the file open for writing, as HDF5 locks what it writes."""
    with path.open("rb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def _aside(path: Path) -> Path:
    number = 1
    while (found := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    return found
