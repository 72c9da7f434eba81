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

from jobmeter.sinks.hdf5.layout import fitted
from jobmeter.sinks.hdf5.superblock import clear_marks

_CHUNK_BYTES = 16_384
_CHUNK_ROWS_MIN = 4
_SPARE_BYTES = 2**20
_TABLE_BYTES = 2**14
_VERSION = ("v110", "v110")
_SAME_SOURCE_MAX = 50
_PLACES_MAX = 50_000
_TYPES_MAX = 1000
_SWMR_SUPERBLOCK = 3
_LOCK_TRIES, _LOCK_PAUSE_SECONDS = 20, 0.05

_NO_TMPFILE = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL)

log = logging.getLogger("jobmeter.sinks")

Rows = Mapping[tuple[str, str], tuple[np.dtype, bytearray]]
"""Packed rows by group and table, each with their layout, which a new table gets."""


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
        self._types: dict[np.dtype, h5py.h5t.TypeID] = {}
        self._places: dict[tuple[str, str, np.dtype], _Place] = {}
        self._inode = 0

    def append(self, rows: Rows) -> None:
        """Append all rows, durable on return. Raises Unfinished, and OSError when nothing was written."""
        self._reserve(rows)
        file = self._opened()
        done: list[tuple[str, str]] = []
        try:
            try:
                places = {key: self._known(file, *key, layout) for key, (layout, _) in rows.items()}
                if file.id.get_create_plist().get_version()[0] >= _SWMR_SUPERBLOCK:  # a file of Colmet's is older
                    file.swmr_mode = True
                for key, (layout, packed) in rows.items():
                    self._append(file, places[key], np.frombuffer(packed, layout))
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
        wanted = _SPARE_BYTES + sum(len(packed) + _TABLE_BYTES for _, packed in rows.values())
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

    def _known(self, file: h5py.File, group: str, table: str, layout: np.dtype) -> _Place:
        """As `_place`, which is asked once for each table as long as the file is the same one."""
        if (inode := self.path.stat().st_ino) != self._inode or len(self._places) >= _PLACES_MAX:
            self._places.clear()
            self._inode = inode
        key = (group, table, layout)
        found = self._places.get(key)
        if found is None:
            found = self._places[key] = self._place(file, group, table, layout)
        return found

    def _place(self, file: h5py.File, group: str, table: str, layout: np.dtype) -> _Place:
        """Where rows of that layout go: the table of that name, made if need be, or one beside it."""
        raw = group.encode()
        if raw not in file.id:
            made = h5py.h5g.create(file.id, raw)
            for attribute in (_Attribute("TITLE", group), *_OF_GROUP):
                attribute.put(made)
        for number in range(1, _SAME_SOURCE_MAX):
            name = f"{group}/{table}" + (f"_{number}" if number > 1 else "")
            if name.encode() not in file.id:
                self._make_table(file, name, group, layout)
                return _Place(name.encode(), layout)
            there = file[name].dtype
            lacking = set(layout.names or ()) - set(there.names or ())
            if not lacking or table.endswith("_default"):
                if lacking and table not in self._narrower:
                    self._narrower.add(table)
                    log.warning("hdf5.columns_missing table=%s columns=%s", table, ",".join(sorted(lacking)))
                return _Place(name.encode(), layout if there == layout else there)
        raise ValueError(f"{table} has too many kinds of rows")

    def _make_table(self, file: h5py.File, name: str, group: str, layout: np.dtype) -> None:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((max(_CHUNK_ROWS_MIN, _CHUNK_BYTES // layout.itemsize),))
        if self._compression.number is not None:
            properties.set_shuffle()
            properties.set_filter(self._compression.number, h5py.h5z.FLAG_MANDATORY, self._compression.options)
        space = h5py.h5s.create_simple((0,), (h5py.h5s.UNLIMITED,))
        made = h5py.h5d.create(file.id, name.encode(), self._type(layout), space, properties)
        for attribute in (_Attribute("TITLE", f"Metrics for the Job {group.removeprefix('job_')}"), *_OF_TABLE):
            attribute.put(made)

    def _append(self, file: h5py.File, place: _Place, rows: np.ndarray) -> None:
        block = fitted(rows, place.layout)
        table = h5py.h5d.open(file.id, place.name)
        space = table.get_space()
        (start,) = space.get_simple_extent_dims()
        table.set_extent((start + len(block),))
        space.set_extent_simple((start + len(block),), (h5py.h5s.UNLIMITED,))
        space.select_hyperslab((start,), (len(block),))
        # With the type named, h5py need not make one of each of the block's columns again.
        table.write(h5py.h5s.create_simple((len(block),)), space, block, self._type(place.layout))

    def _type(self, layout: np.dtype) -> h5py.h5t.TypeID:
        found = self._types.get(layout)
        if found is None:
            if len(self._types) >= _TYPES_MAX:
                self._types.clear()
            found = self._types[layout] = h5py.h5t.py_create(layout)
        return found


class _Place(Struct, frozen=True):
    name: bytes
    layout: np.dtype


class _Attribute:
    """An attribute, made ready to be put to many places."""

    def __init__(self, name: str, value: str | int) -> None:
        self._name = name.encode()
        self._value = np.array(value.encode() if isinstance(value, str) else value)
        self._type = h5py.h5t.py_create(self._value.dtype)
        self._space = h5py.h5s.create(h5py.h5s.SCALAR)

    def put(self, place: object) -> None:
        h5py.h5a.create(place, self._name, self._type, self._space).write(self._value)


_OF_GROUP = (_Attribute("CLASS", "GROUP"), _Attribute("VERSION", "1.0"))
_OF_TABLE = (_Attribute("CLASS", "TABLE"), _Attribute("VERSION", "2.7"), _Attribute("backend_version", 2))


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
