"""Finds the tables that rows go to, and makes those that are not there yet.

A new table is a copy of one in memory, as making one piece by piece takes HDF5 two to three times as long. New groups
are made inside one that has no name, and come to their place when all that is in them is written: what a kill can
leave half done is the list of names, and that is written in a moment.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import h5py
import numpy as np
from msgspec import Struct

from jobmeter.sinks.hdf5.chunks import Form, form_of

VERSION = ("v110", "v110")
"""The format of files: the first with single-writer-multiple-reader, which PyTables reads."""

_CHUNK_BYTES = 16_384
_CHUNK_ROWS_MIN = 4
_SAME_SOURCE_MAX = 50
_STAGED_MAX = 256
_PLACES_MAX = 20_000
_TEMPLATES_MAX = 200
_TYPES_MAX = 1000
_ANY_NUMBER = (h5py.h5s.UNLIMITED,)
_SCALAR = h5py.h5s.create(h5py.h5s.SCALAR)

log = logging.getLogger("jobmeter.sinks")

Key = tuple[str, str]
"""A group and a table in it."""


class Compression(Struct, frozen=True):
    """A filter of HDF5 by its number, with its options; None: none."""

    number: int | None = None
    options: tuple[int, ...] = ()


class Place(Struct, frozen=True):
    """A table by its path, the layout of its rows, and the form of its chunks where it is known."""

    path: bytes
    layout: np.dtype
    form: Form | None


class Types:
    """The types of HDF5 for layouts; each is made once, as that takes longer than to write some rows."""

    def __init__(self) -> None:
        self._made: dict[np.dtype, h5py.h5t.TypeID] = {}

    def of(self, layout: np.dtype) -> h5py.h5t.TypeID:
        """The type of such rows or values."""
        found = self._made.get(layout)
        if found is None:
            if len(self._made) >= _TYPES_MAX:
                self._made.clear()
            found = self._made[layout] = h5py.h5t.py_create(layout)
        return found

    def put(self, place: h5py.h5g.GroupID | h5py.h5d.DatasetID, name: bytes, value: str | int) -> None:
        """Give a group or table an attribute."""
        stored = np.array(value.encode() if isinstance(value, str) else value)
        kind = self.of(stored.dtype)
        h5py.h5a.create(place, name, kind, _SCALAR).write(stored, kind)


class Tables:
    """The tables of one file after the other. What it remembers of a file holds as long as nobody else writes it."""

    def __init__(self, compression: Compression, types: Types) -> None:
        self._templates = _Templates(compression, types)
        self._types = types
        self._places: dict[tuple[str, str, np.dtype], Place] = {}
        self._inode = 0
        self._narrower: set[str] = set()

    def places(self, file: h5py.File, inode: int, wanted: Mapping[Key, np.dtype]) -> dict[Key, Place]:
        """Where rows of these layouts go: the table of that name, made if need be, or one beside it."""
        if inode != self._inode or len(self._places) >= _PLACES_MAX:
            self._places.clear()
            self._inode = inode
        staging = _Staging(file, self._templates)
        found = {}
        try:
            for (group, table), layout in wanted.items():
                known = self._places.get((group, table, layout))
                if known is None:
                    known = self._place(staging.group(group), group, table, layout)
                    self._places[group, table, layout] = known
                found[group, table] = known
            staging.finish()
        except BaseException:
            self._places.clear()  # some of them may have come to nothing
            raise
        return found

    def _place(self, parent: h5py.h5g.GroupID, group: str, table: str, layout: np.dtype) -> Place:
        for number in range(1, _SAME_SOURCE_MAX):
            name = (table if number == 1 else f"{table}_{number}").encode()
            path = group.encode() + b"/" + name
            if name not in parent:
                title = f"Metrics for the Job {group.removeprefix('job_')}"
                return Place(path, layout, self._templates.make_table(parent, name, title, layout))
            there = h5py.h5d.open(parent, name)
            if there.get_type().equal(self._types.of(layout)):
                return Place(path, layout, form_of(there.get_create_plist(), layout.itemsize))
            lacking = set(layout.names or ()) - set(there.dtype.names or ())
            if not lacking or table.endswith("_default"):
                if lacking and table not in self._narrower:
                    self._narrower.add(table)
                    log.warning("hdf5.columns_missing table=%s columns=%s", table, ",".join(sorted(lacking)))
                return Place(path, there.dtype, None)
        raise ValueError(f"{table} has too many kinds of rows")


class _Staging:
    """New groups of a file, made where nobody sees them; `finish` moves them to their places."""

    def __init__(self, file: h5py.File, templates: _Templates) -> None:
        self._file = file
        self._root = h5py.h5g.open(file.id, b"/")
        self._templates = templates
        self._hidden: h5py.h5g.GroupID | None = None
        self._names: set[bytes] = set()

    def group(self, name: str) -> h5py.h5g.GroupID:
        """The group, made if need be."""
        raw = name.encode()
        if raw in self._names:
            return h5py.h5g.open(self._hidden, raw)
        if raw in self._root:
            return h5py.h5g.open(self._root, raw)
        if len(self._names) >= _STAGED_MAX:
            self.finish()
        if self._hidden is None:
            self._hidden = h5py.h5g.create(self._file.id, None)
        self._names.add(raw)
        return self._templates.make_group(self._hidden, raw, name)

    def finish(self) -> None:
        """Put the new groups where they belong."""
        if self._hidden is None:
            return
        self._file.flush()
        for raw in self._names:
            self._hidden.links.move(raw, self._root, raw)
        self._names.clear()
        self._hidden = None


class _Templates:
    """A group and tables in memory, which new ones are copies of."""

    def __init__(self, compression: Compression, types: Types) -> None:
        self._compression = compression
        self._types = types
        self._begin()

    def make_group(self, parent: h5py.h5g.GroupID, name: bytes, title: str) -> h5py.h5g.GroupID:
        """An empty group."""
        h5py.h5o.copy(self._file.id, b"group", parent, name)
        made = h5py.h5g.open(parent, name)
        self._types.put(made, b"TITLE", title)
        return made

    def make_table(self, parent: h5py.h5g.GroupID, name: bytes, title: str, layout: np.dtype) -> Form | None:
        """A table without rows. Gives the form of its chunks."""
        template, form = self._template(layout)
        h5py.h5o.copy(self._file.id, template, parent, name)
        self._types.put(h5py.h5d.open(parent, name), b"TITLE", title)
        return form

    def _begin(self) -> None:
        own = f"templates-{id(self)}"  # the library knows files of memory by their name, too
        self._file = h5py.File(own, "w", driver="core", backing_store=False, block_size=2**16, libver=VERSION)
        self._made: dict[np.dtype, tuple[bytes, Form | None]] = {}
        group = h5py.h5g.create(self._file.id, b"group")
        for name, text in ((b"CLASS", "GROUP"), (b"VERSION", "1.0")):
            self._types.put(group, name, text)

    def _template(self, layout: np.dtype) -> tuple[bytes, Form | None]:
        if (found := self._made.get(layout)) is not None:
            return found
        if len(self._made) >= _TEMPLATES_MAX:
            self._file.close()
            self._begin()
        name = b"%d" % len(self._made)
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((max(_CHUNK_ROWS_MIN, _CHUNK_BYTES // layout.itemsize),))
        properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)  # nothing is ever read beyond the last row
        if self._compression.number is not None:
            properties.set_shuffle()
            properties.set_filter(self._compression.number, h5py.h5z.FLAG_MANDATORY, self._compression.options)
        space = h5py.h5s.create_simple((0,), _ANY_NUMBER)
        made = h5py.h5d.create(self._file.id, name, self._types.of(layout), space, properties)
        for attribute, value in ((b"CLASS", "TABLE"), (b"VERSION", "2.7"), (b"backend_version", 2)):
            self._types.put(made, attribute, value)
        self._made[layout] = name, form_of(properties, layout.itemsize)
        return self._made[layout]
