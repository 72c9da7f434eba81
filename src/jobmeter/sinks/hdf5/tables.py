"""Finds the tables that rows go to, and makes those that are not there yet.

A new table is a copy of one in memory, as making one piece by piece takes HDF5 two to three times as long. New groups
are made inside one that has no name, get their first rows there, and come to their place when all that is in them is
written: what a kill can leave half done is the list of names, and that is written in a moment.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from operator import itemgetter
from typing import TypeAlias

import h5py
import numpy as np
from msgspec import Struct

from jobmeter.sinks.hdf5.chunks import UNBUFFERED, Form, append, form_of
from jobmeter.sinks.hdf5.held import Held

VERSION = ("v110", "v110")
"""The format of files: the first with single-writer-multiple-reader, which PyTables reads."""

_CHUNK_BYTES = 16_384
_CHUNK_ROWS_MIN = 4
_SAME_SOURCE_MAX = 50
_STAGED_MAX = 256
_PLACES_MAX = 50_000
_TEMPLATES_MAX = 200
_TYPES_MAX = 1000
_ANY_NUMBER = (h5py.h5s.UNLIMITED,)
_SCALAR = h5py.h5s.create(h5py.h5s.SCALAR)
_TITLE = b"TITLE"
_GROUP_TITLE, _TABLE_TITLE = np.dtype("S32"), np.dtype("S64")
"""Titles have a fixed size, so that a copy's is written over: to make an attribute takes twice as long."""

log = logging.getLogger("jobmeter.sinks")

_Described: TypeAlias = h5py.h5g.GroupID | h5py.h5d.DatasetID

Key = tuple[str, str]
"""A group and a table in it."""


class Compression(Struct, frozen=True):
    """A filter of HDF5 by its number, with its options; None: none."""

    number: int | None = None
    options: tuple[int, ...] = ()


class Place(Struct, frozen=True):
    """A table's name in its group, the layout of its rows, and the form of its chunks where it is known."""

    name: bytes
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

    def put(self, place: _Described, name: bytes, value: str | int, form: np.dtype | None = None) -> None:
        """Give a group or table an attribute, of that form where one is told."""
        stored = np.array(value.encode() if isinstance(value, str) else value, form)
        kind = self.of(stored.dtype)
        h5py.h5a.create(place, name, kind, _SCALAR).write(stored, kind)

    def rewrite(self, place: _Described, name: bytes, value: str, form: np.dtype) -> None:
        """Write over an attribute of that form."""
        h5py.h5a.open(place, name).write(np.array(value.encode(), form), self.of(form))


class Tables:
    """The tables of one file after the other. What it remembers of a file holds as long as nobody else writes it."""

    def __init__(self, compression: Compression, types: Types) -> None:
        self._templates = _Templates(compression, types)
        self._types = types
        self._places: dict[tuple[str, str, np.dtype], Place] = {}
        self._kinds: dict[tuple[bytes, np.dtype, Form | None], Place] = {}
        self._inode = 0
        self._narrower: set[str] = set()

    def places(self, file: h5py.File, inode: int, rows: Mapping[Key, Held], done: list[Key]) -> dict[Key, Place]:
        """Where rows go that are still to be written: the table of that name, or one beside it, made if need be.

        Rows of groups that are new are written here; their keys are added to `done`.
        """
        if inode != self._inode:
            self._places.clear()
            self._inode = inode
        staging = _Staging(file, self._templates, self._types, done)
        found = {}
        try:
            for (group, table), held in sorted(rows.items(), key=itemgetter(0)):
                layout = held.packing.layout
                place = self._places.get((group, table, layout))
                if place is None:
                    parent = staging.group(group)
                    if staging.is_new(group):
                        self._remember((group, table, layout), staging.begin(parent, (group, table), held))
                        continue
                    place = self._remember((group, table, layout), self._place(parent, group, table, layout))
                found[group, table] = place
            staging.finish()
        except BaseException:
            self._places.clear()  # some of them may have come to nothing
            raise
        return found

    def _remember(self, key: tuple[str, str, np.dtype], place: Place) -> Place:
        if len(self._places) >= _PLACES_MAX:
            del self._places[next(iter(self._places))]
        if len(self._kinds) >= _TEMPLATES_MAX:
            self._kinds.clear()
        # One value for the tables of all groups, as there may be thousands.
        known = self._places[key] = self._kinds.setdefault((place.name, place.layout, place.form), place)
        return known

    def _place(self, parent: h5py.h5g.GroupID, group: str, table: str, layout: np.dtype) -> Place:
        for number in range(1, _SAME_SOURCE_MAX):
            name = (table if number == 1 else f"{table}_{number}").encode()
            if name not in parent:
                _, form = self._templates.make_table(parent, name, group, layout)
                return Place(name, layout, form)
            there = h5py.h5d.open(parent, name)
            if there.get_type().equal(self._types.of(layout)):
                return Place(name, layout, form_of(there.get_create_plist(), layout.itemsize))
            lacking = set(layout.names or ()) - set(there.dtype.names or ())
            if not lacking or table.endswith("_default"):
                if lacking and table not in self._narrower:
                    self._narrower.add(table)
                    log.warning("hdf5.columns_missing table=%s columns=%s", table, ",".join(sorted(lacking)))
                return Place(name, there.dtype, None)
        raise ValueError(f"{table} has too many kinds of rows")


class _Staging:
    """New groups of a file, made where nobody sees them; `finish` moves them to their places with their rows."""

    def __init__(self, file: h5py.File, templates: _Templates, types: Types, done: list[Key]) -> None:
        self._file = file
        self._root = h5py.h5g.open(file.id, b"/")
        self._templates = templates
        self._types = types
        self._done = done
        self._hidden: h5py.h5g.GroupID | None = None
        self._names: set[str] = set()
        self._written: list[Key] = []

    def is_new(self, name: str) -> bool:
        """Whether the group is one that nobody sees yet."""
        return name in self._names

    def group(self, name: str) -> h5py.h5g.GroupID:
        """The group, made if need be."""
        raw = name.encode()
        if name in self._names:
            return h5py.h5g.open(self._hidden, raw)
        if raw in self._root:
            return h5py.h5g.open(self._root, raw)
        if len(self._names) >= _STAGED_MAX:
            self.finish()
        if self._hidden is None:
            self._hidden = h5py.h5g.create(self._file.id, None)
        self._names.add(name)
        return self._templates.make_group(self._hidden, name)

    def begin(self, parent: h5py.h5g.GroupID, key: Key, held: Held) -> Place:
        """Make a table in a new group, with its first rows."""
        group, table = key
        layout = held.packing.layout
        made, form = self._templates.make_table(parent, table.encode(), group, layout)
        append(made, form, held.blocks(), self._types.of(layout))
        self._written.append(key)
        return Place(table.encode(), layout, form)

    def finish(self) -> None:
        """Put the new groups where they belong."""
        if self._hidden is None:
            return
        self._file.flush()
        for name in self._names:
            self._hidden.links.move(name.encode(), self._root, name.encode())
        self._done += self._written
        self._names.clear()
        self._written.clear()
        self._hidden = None


class _Templates:
    """A group and tables in memory, which new ones are copies of."""

    def __init__(self, compression: Compression, types: Types) -> None:
        self._compression = compression
        self._types = types
        self._begin()

    def make_group(self, parent: h5py.h5g.GroupID, name: str) -> h5py.h5g.GroupID:
        """An empty group."""
        h5py.h5o.copy(self._file.id, b"group", parent, name.encode())
        made = h5py.h5g.open(parent, name.encode())
        self._types.rewrite(made, _TITLE, name, _GROUP_TITLE)
        return made

    def make_table(
        self, parent: h5py.h5g.GroupID, name: bytes, group: str, layout: np.dtype
    ) -> tuple[h5py.h5d.DatasetID, Form | None]:
        """A table without rows, and the form of its chunks."""
        template, form = self._template(layout)
        h5py.h5o.copy(self._file.id, template, parent, name)
        made = h5py.h5d.open(parent, name, UNBUFFERED)
        self._types.rewrite(made, _TITLE, f"Metrics for the Job {group.removeprefix('job_')}", _TABLE_TITLE)
        return made, form

    def _begin(self) -> None:
        own = f"templates-{id(self)}"  # the library knows files of memory by their name, too
        self._file = h5py.File(own, "w", driver="core", backing_store=False, block_size=2**16, libver=VERSION)
        self._made: dict[np.dtype, tuple[bytes, Form | None]] = {}
        group = h5py.h5g.create(self._file.id, b"group")
        for name, text in ((b"CLASS", "GROUP"), (b"VERSION", "1.0")):
            self._types.put(group, name, text)
        self._types.put(group, _TITLE, "", _GROUP_TITLE)

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
        self._types.put(made, _TITLE, "", _TABLE_TITLE)
        self._made[layout] = name, form_of(properties, layout.itemsize)
        return self._made[layout]
