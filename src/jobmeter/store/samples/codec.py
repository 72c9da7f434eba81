"""The columns of one series as few bytes, and back, bit by bit the same.

A cell has a kind (nothing, whole number, floating number) and 64 bits. A column is changed so that most of its bytes
become zero: differences of differences, differences, or the numbers themselves, whichever has the fewest bits; before
that, numbers are divided by what all their differences have in common (memory comes in pages, times in periods). A
column of decimal fractions becomes whole numbers where that is exact; other floating numbers are compared with their
predecessor bit by bit. What is left is laid out byte plane by byte plane, all-zero planes are left out, and zlib packs
what many blocks together have left.

All steps work on all columns of a block at once. Form of a block: see docs/sample-store.md.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from jobmeter.store.samples.fault import Damaged

Bits = npt.NDArray[np.uint64]
Kinds = npt.NDArray[np.uint8]
Whole = npt.NDArray[np.int64]

NOTHING, WHOLE, FLOATING = 0, 1, 2
_MIXED = 3

_PLAIN, _DELTA, _DELTA2, _XOR = 0, 1, 2, 3
_DECIMAL_SHIFT = 4
"""The transform is in the low four bits of its byte, the power of ten above them."""

_POWERS = (0, 1, 2, 3, 6)
_EXACT_MAX = float(2**53)
_CELLS_MAX = 2**26
_HEAD = struct.Struct("<IH")
_ONE = np.uint64(1)
_TOP = np.uint64(63)


class Cells(NamedTuple):
    """A matrix of rows and columns: the 64 bits of every cell, and its kind. The bits of "nothing" mean nothing."""

    bits: Bits
    kinds: Kinds


def encode(cells: Cells) -> bytes:
    """The block; at least one row and one column."""
    rows, columns = cells.bits.shape
    mode = _modes(cells.kinds)
    mixed = mode == _MIXED
    bits = _filled(cells, mode)
    values = bits.view(np.int64)
    transform = np.zeros(columns, np.uint8)
    decimals = _as_decimals(bits, mode == FLOATING, transform)
    floating = (mode == FLOATING) & ~decimals
    # A column of both kinds is compared bit by bit: its whole numbers and floating numbers have nothing in common.
    xored = floating | (mixed & (cells.kinds == FLOATING).any(axis=0))
    base, factor = _reduced(values, ~xored)
    _transformed(bits, xored, transform)
    planes, present = _planes(bits)
    parts = [
        _HEAD.pack(rows, columns),
        mode.tobytes(),
        transform.tobytes(),
        np.packbits(present).tobytes(),
        _pack_column(base.view(np.uint64)),
        _pack_column(factor.view(np.uint64)),
        np.ascontiguousarray(cells.kinds[:, mixed].T).tobytes(),
        planes,
    ]
    return b"".join(parts)


def decode(block: bytes) -> Cells:
    """The cells of a block. Raises Damaged when it is not one, as far as its form tells; checksums are kept outside."""
    try:
        return _decoded(memoryview(block))
    except (ValueError, struct.error, IndexError) as fault:
        raise Damaged(f"a block has a wrong form: {fault}") from None


def _modes(kinds: Kinds) -> Kinds:
    """Per column the kind of all its cells, or MIXED."""
    mode: Kinds = kinds[0].copy()
    mode[(kinds != kinds[0]).any(axis=0)] = _MIXED
    return mode


def _filled(cells: Cells, mode: Kinds) -> Bits:
    """A copy of the bits where a cell of nothing repeats the one before it, so that it costs nothing."""
    bits = np.where(cells.kinds == NOTHING, np.uint64(0), cells.bits)
    for column in np.flatnonzero(mode == _MIXED):
        there = cells.kinds[:, column] != NOTHING
        last = np.maximum.accumulate(np.where(there, np.arange(len(there)), -1))
        first = int(np.argmax(there))
        bits[:, column] = bits[np.where(last < 0, first, last), column]
    return bits


def _as_decimals(bits: Bits, floating: npt.NDArray[np.bool_], transform: Kinds) -> npt.NDArray[np.bool_]:
    """Turn columns of decimal fractions into whole numbers, in place, where the way back is exact. Which they are."""
    done = np.zeros(len(floating), np.bool_)
    if not floating.any():
        return done
    with np.errstate(all="ignore"):
        for power in _POWERS:
            left = np.flatnonzero(floating & ~done)
            if not len(left):
                break
            given = np.ascontiguousarray(bits[:, left])
            scaled = np.rint(given.view(np.float64) * 10.0**power)
            fits = np.abs(scaled) < _EXACT_MAX
            whole = np.where(fits, scaled, 0.0).astype(np.int64)
            back = (whole / 10.0**power).view(np.uint64)
            exact = (fits & (back == given)).all(axis=0)
            chosen = left[exact]
            bits[:, chosen] = whole[:, exact].view(np.uint64)
            done[chosen] = True
            transform[chosen] = power << _DECIMAL_SHIFT
    return done


def _reduced(values: Whole, numeric: npt.NDArray[np.bool_]) -> tuple[Whole, Whole]:
    """Take the first value off and divide by what all have in common, in place. Both are returned, per column."""
    columns = values.shape[1]
    base = np.zeros(columns, np.int64)
    factor = np.ones(columns, np.int64)
    spread = values.max(axis=0).astype(np.float64) - values.min(axis=0).astype(np.float64)
    chosen = np.flatnonzero(numeric & (spread < 2.0**62))
    if len(chosen):
        base[chosen] = values[0, chosen]
        off = values[:, chosen] - base[chosen]
        common = np.gcd.reduce(off, axis=0)
        common[common == 0] = 1
        factor[chosen] = common
        values[:, chosen] = off // common if (common != 1).any() else off
    return base, factor


def _transformed(bits: Bits, xored: npt.NDArray[np.bool_], transform: Kinds) -> None:
    """Replace each column, in place, by the form of it with the fewest bits, and note which."""
    numeric = np.flatnonzero(~xored)
    if len(numeric):
        plain = bits[:, numeric].view(np.int64)
        first = _differences(plain)
        second = _differences(first)
        forms = [_zigzag(form) for form in (plain, first, second)]
        costs = np.stack([_cost(form) for form in forms])
        best = costs.argmin(axis=0)
        for which, form in enumerate(forms):
            own = best == which
            bits[:, numeric[own]] = form[:, own]
        transform[numeric] |= best.astype(np.uint8)
    other = np.flatnonzero(xored)
    if len(other):
        given = bits[:, other]
        bits[1:, other] = given[1:] ^ given[:-1]
        transform[other] = _XOR


def _differences(values: Whole) -> Whole:
    """Each value less the one above it, modulo 2^64; the first as it is."""
    out = values.copy()
    out[1:] -= values[:-1]
    return out


def _zigzag(values: Whole) -> Bits:
    return ((values << 1) ^ (values >> 63)).view(np.uint64)


def _unzigzag(bits: Bits) -> Whole:
    return ((bits >> _ONE) ^ (~(bits & _ONE) + _ONE)).view(np.int64)


def _cost(form: Bits) -> npt.NDArray[np.float64]:
    """About how many bits a column needs, apart from its first value."""
    return np.asarray(np.log2(form[1:].astype(np.float64) + 1.0).sum(axis=0))


def _planes(bits: Bits) -> tuple[bytes, npt.NDArray[np.bool_]]:
    """The byte planes that are not all zero, column after column, and which they are."""
    rows, columns = bits.shape
    planes = bits.T.copy().view(np.uint8).reshape(columns, rows, 8).transpose(0, 2, 1)
    present = np.asarray(planes.any(axis=2))
    return planes[present].tobytes(), present


def _pack_column(bits: Bits) -> bytes:
    planes, present = _planes(bits.reshape(-1, 1))
    return bytes([int(np.packbits(present)[0])]) + planes


class _Cut:
    """A reader of the pieces of a block, one after the other."""

    def __init__(self, view: memoryview) -> None:
        self._view = view
        self._at = 0

    def take(self, size: int) -> memoryview:
        if size < 0 or self._at + size > len(self._view):
            raise ValueError("it ends too early")
        piece = self._view[self._at : self._at + size]
        self._at += size
        return piece

    def array(self, size: int) -> npt.NDArray[np.uint8]:
        return np.frombuffer(self.take(size), np.uint8)

    def planes(self, rows: int, columns: int, present: npt.NDArray[np.bool_]) -> Bits:
        out = np.zeros((columns, 8, rows), np.uint8)
        out[present] = self.array(int(present.sum()) * rows).reshape(-1, rows)
        flat = np.ascontiguousarray(out.transpose(0, 2, 1)).view(np.uint64)
        return np.ascontiguousarray(flat.reshape(columns, rows).T)

    def column(self, rows: int) -> Bits:
        present = np.unpackbits(self.array(1)).astype(np.bool_).reshape(1, 8)
        return self.planes(rows, 1, present)[:, 0]

    def end(self) -> None:
        if self._at != len(self._view):
            raise ValueError("it goes on after its end")


def _decoded(view: memoryview) -> Cells:
    cut = _Cut(view)
    rows, columns = _HEAD.unpack(cut.take(_HEAD.size))
    if rows * columns > _CELLS_MAX:
        raise ValueError(f"{rows} rows of {columns} columns")
    mode = cut.array(columns)
    transform = cut.array(columns)
    size = (columns * 8 + 7) // 8
    present = np.unpackbits(cut.array(size))[: columns * 8].astype(np.bool_).reshape(columns, 8)
    base = cut.column(columns).view(np.int64)
    factor = cut.column(columns).view(np.int64)
    kinds = np.broadcast_to(mode, (rows, columns)).copy()
    mixed = np.flatnonzero(mode == _MIXED)
    kinds[:, mixed] = cut.array(rows * len(mixed)).reshape(len(mixed), rows).T
    bits = cut.planes(rows, columns, present)
    cut.end()
    _restore(bits, base, factor, transform)
    decimal = np.flatnonzero((mode == FLOATING) & ((transform & 15) != _XOR))
    for column in decimal:
        whole = bits[:, column].view(np.int64)
        bits[:, column] = (whole / 10.0 ** int(transform[column] >> _DECIMAL_SHIFT)).view(np.uint64)
    bits[kinds == NOTHING] = 0
    return Cells(bits, kinds)


def _restore(bits: Bits, base: Whole, factor: Whole, transform: Kinds) -> None:
    kind = transform & 15
    xored = np.flatnonzero(kind == _XOR)
    bits[:, xored] = np.bitwise_xor.accumulate(bits[:, xored], axis=0)
    for which in (_PLAIN, _DELTA, _DELTA2):
        own = np.flatnonzero(kind == which)
        if not len(own):
            continue
        values = _unzigzag(np.ascontiguousarray(bits[:, own]))
        for _ in range(which):
            values = np.cumsum(values, axis=0, dtype=np.int64)
        bits[:, own] = (values * factor[own] + base[own]).view(np.uint64)
