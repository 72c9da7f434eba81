"""Rows of one series in memory: three columns about the sample, then one per metric."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from jobmeter.model.series import Value
from jobmeter.store.samples.codec import FLOATING, NOTHING, WHOLE, Bits, Cells, Kinds

TIME, SINCE, INVOLVED = 0, 1, 2
ABOUT = 3
"""So many columns come before those of the metrics: time, when counters began, number of the list of involved jobs."""

_FORMAT = {int: "q", float: "d", type(None): ""}
_KIND = {int: WHOLE, float: FLOATING, type(None): NOTHING}


class Misfit(Exception):  # noqa: N818 - the name says the fact
    """Values that cannot be stored; the message says why."""


class _Shape(NamedTuple):
    """Rows whose values have the same types lie together, packed; `order` says the how manyth each is."""

    pack: struct.Struct
    kinds: Kinds
    has_gaps: bool
    buffer: bytearray
    order: array[int]


class PackedRow(NamedTuple):
    """A row that fits and is not yet part of the rows."""

    shape: _Shape
    packed: bytes


class Rows:
    """Rows of one series as they come in. Takes about nine bytes a value."""

    def __init__(self, metrics: int) -> None:
        self.count = 0
        self.metrics = metrics
        self._shapes: dict[tuple[type, ...], _Shape] = {}

    def packed(self, time_ns: int, since_ns: int | None, involved: int, values: Sequence[Value]) -> PackedRow:
        """The row ready to be added. Raises Misfit for what cannot be stored."""
        types = (type(since_ns), *map(type, values))
        shape = self._shapes.get(types)
        if shape is None:
            shape = self._shapes[types] = self._shape(types)
        try:
            if shape.has_gaps:
                given = [value for value in (since_ns, *values) if value is not None]
                return PackedRow(shape, shape.pack.pack(time_ns, involved, *given))
            return PackedRow(shape, shape.pack.pack(time_ns, involved, since_ns, *values))
        except struct.error:
            raise Misfit("a whole number does not fit into 64 bits with a sign") from None

    def add(self, row: PackedRow) -> None:
        """One more row, packed by `packed` of the same rows."""
        row.shape.buffer.extend(row.packed)
        row.shape.order.append(self.count)
        self.count += 1

    def _shape(self, types: tuple[type, ...]) -> _Shape:
        if len(types) != self.metrics + 1:
            raise Misfit(f"{len(types) - 1} values for {self.metrics} metrics")
        if not all(one in _FORMAT for one in types):
            raise Misfit("a value is neither a whole nor a floating number")
        kinds = np.array([WHOLE, _KIND[types[0]], WHOLE, *(_KIND[one] for one in types[1:])], np.uint8)
        return _Shape(
            struct.Struct("<qq" + "".join(_FORMAT[one] for one in types)),
            kinds,
            type(None) in types,
            bytearray(),
            array("q"),
        )

    def cells(self) -> Cells:
        """All rows, in the order in which they came."""
        bits = np.zeros((self.count, self.metrics + ABOUT), np.uint64)
        kinds = np.zeros((self.count, self.metrics + ABOUT), np.uint8)
        for shape in self._shapes.values():
            if not shape.order:
                continue
            rows = np.array(shape.order)
            matrix = np.frombuffer(bytes(shape.buffer), np.uint64).reshape(len(rows), -1)
            there = np.flatnonzero(shape.kinds != NOTHING)
            # The packed order is time, involved, since, values: a since that is absent leaves no place.
            places = np.concatenate(([TIME, INVOLVED], there[(there != TIME) & (there != INVOLVED)]))
            bits[np.ix_(rows, places)] = matrix
            kinds[rows] = shape.kinds
        return Cells(bits, kinds)


def times_of(cells: Cells) -> npt.NDArray[np.int64]:
    """The times of the rows."""
    return cells.bits[:, TIME].view(np.int64)


def in_order(cells: Cells) -> Cells:
    """Sorted by time; of rows with the same time the first is kept: a repeated delivery changes nothing."""
    times = times_of(cells)
    if len(times) < 2 or bool((times[1:] > times[:-1]).all()):
        return cells
    order = np.argsort(times, kind="stable")
    sorted_times = times[order]
    keep = np.ones(len(order), np.bool_)
    keep[1:] = sorted_times[1:] != sorted_times[:-1]
    chosen = order[keep]
    return Cells(cells.bits[chosen], cells.kinds[chosen])


def joined(parts: Sequence[Cells]) -> Cells:
    """One below the other, in order."""
    if len(parts) == 1:
        return in_order(parts[0])
    bits: Bits = np.concatenate([part.bits for part in parts])
    kinds: Kinds = np.concatenate([part.kinds for part in parts])
    return in_order(Cells(bits, kinds))


def between(cells: Cells, from_ns: int | None, to_ns: int | None) -> Cells:
    """The rows of a period; they are in order."""
    times = times_of(cells)
    first = 0 if from_ns is None else int(np.searchsorted(times, from_ns))
    last = len(times) if to_ns is None else int(np.searchsorted(times, to_ns))
    return Cells(cells.bits[first:last], cells.kinds[first:last])


def values_of(cells: Cells, column: int) -> list[Value]:
    """The values of a column as Python's own."""
    bits = np.ascontiguousarray(cells.bits[:, column])
    kinds = cells.kinds[:, column]
    first = int(kinds[0]) if len(kinds) else NOTHING
    if bool((kinds == first).all()):
        if first == NOTHING:
            return [None] * len(kinds)
        plain: list[Value] = bits.view(np.int64 if first == WHOLE else np.float64).tolist()
        return plain
    whole = bits.view(np.int64).tolist()
    floating = bits.view(np.float64).tolist()
    return [
        None if kind == NOTHING else w if kind == WHOLE else f
        for kind, w, f in zip(kinds.tolist(), whole, floating, strict=True)
    ]
