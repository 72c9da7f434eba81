"""One HDF5 file that rows are appended to. It is open only while that happens, so that everybody can read it between.

Tables are made first, then the file is switched to single-writer-multiple-reader, in which rows are added in an order
that leaves the file whole at any instant. What the library keeps in memory of a file is bounded: unbounded, each table
takes 20 kB.
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

from jobmeter.sinks.hdf5.chunks import UNBUFFERED, append
from jobmeter.sinks.hdf5.held import Held
from jobmeter.sinks.hdf5.layout import fitted
from jobmeter.sinks.hdf5.superblock import clear_marks
from jobmeter.sinks.hdf5.tables import VERSION, Compression, Key, Place, Tables, Types

_SPARE_BYTES = 2**20
_TABLE_BYTES = 2**14
_METADATA_BYTES = 2 * 2**20
_SWMR_SUPERBLOCK = 3
_LOCK_TRIES, _LOCK_PAUSE_SECONDS = 20, 0.05

_NO_TMPFILE = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL)

log = logging.getLogger("jobmeter.sinks")

Rows = Mapping[Key, Held]
"""Rows by group and table."""


class Unfinished(OSError):  # noqa: N818 - the name says the fact
    """Only these tables got their rows; the rest are still to be written."""

    def __init__(self, done: Sequence[Key], reason: str) -> None:
        super().__init__(reason)
        self.done = tuple(done)


class File:
    """A file that may not be there yet."""

    def __init__(self, path: Path, compression: Compression) -> None:
        self.path = path
        self._types = Types()
        self._tables = Tables(compression, self._types)

    def append(self, rows: Rows) -> None:
        """Append all rows, durable on return. Raises Unfinished, and OSError when nothing was written."""
        self._reserve(rows)
        file = self._opened()
        done: list[Key] = []
        try:
            try:
                places = self._tables.places(file, self.path.stat().st_ino, rows, done)
                if file.id.get_create_plist().get_version()[0] >= _SWMR_SUPERBLOCK:  # a file of Colmet's is older
                    file.swmr_mode = True
                for key, place in places.items():
                    self._append(file, key[0], place, rows[key])
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
        wanted = _SPARE_BYTES + sum(len(held) * held.packing.layout.itemsize + _TABLE_BYTES for held in rows.values())
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
            return _open(self.path, "r+")
        aside = _aside(self.path)
        log.error("hdf5.damaged file=%s moved_to=%s it cannot be opened; a new one is begun", self.path, aside)
        self.path.rename(aside)
        return self._made()

    def _locked(self) -> h5py.File:
        """The file, opened once nobody who opened it for reading has it locked; who just looks does so for moments."""
        for _ in range(_LOCK_TRIES - 1):
            try:
                return _open(self.path, "r+")
            except BlockingIOError:
                time.sleep(_LOCK_PAUSE_SECONDS)
        return _open(self.path, "r+")

    def _made(self) -> h5py.File:
        file = _open(self.path, "w")
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

    def _append(self, file: h5py.File, group: str, place: Place, held: Held) -> None:
        table = h5py.h5d.open(file.id, group.encode() + b"/" + place.name, UNBUFFERED)
        blocks = (fitted(block, place.layout) for block in held.blocks())
        append(table, place.form, blocks, self._types.of(place.layout))


def _open(path: Path, mode: str) -> h5py.File:
    file = h5py.File(path, mode, libver=VERSION)
    bounds = file.id.get_mdc_config()
    bounds.set_initial_size = True
    bounds.initial_size = bounds.min_size = bounds.max_size = _METADATA_BYTES
    bounds.incr_mode = bounds.decr_mode = bounds.flash_incr_mode = 0
    file.id.set_mdc_config(bounds)
    return file


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
