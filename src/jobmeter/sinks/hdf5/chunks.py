"""Puts rows at the end of a table: as the bytes of its chunks where their form is known, else through the library.

The library compares and converts types of rows with every write, which takes longer than all the rest. Chunks whose
filters are none, or the shuffle and deflate that Colmet and PyTables use, can be made here and handed over as they
are. Sources of the fact: the HDF5 specification of the filter pipeline; deflate is zlib's stream, shuffle puts the
first bytes of all rows first, then their second bytes, and so on.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable

import h5py
import numpy as np
from msgspec import Struct

_SHUFFLE, _DEFLATE = h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE


class Form(Struct, frozen=True):
    """How the chunks of a table are stored. `level` of deflate; None: as they are."""

    chunk_rows: int
    row_bytes: int
    level: int | None = None

    def encoded(self, rows: bytes) -> bytes:
        """A chunk with these rows, which may be fewer than it holds."""
        block = rows.ljust(self.chunk_rows * self.row_bytes, b"\0")
        if self.level is None:
            return block
        return zlib.compress(_turned(block, self.row_bytes), self.level)

    def decoded(self, chunk: bytes) -> bytes:
        """The rows of a chunk. Raises ValueError where it is none."""
        size = self.chunk_rows * self.row_bytes
        try:
            rows = chunk if self.level is None else _turned(zlib.decompress(chunk), self.chunk_rows)
        except zlib.error as fault:
            raise ValueError(f"a chunk that cannot be unpacked: {fault}") from None
        if len(rows) != size:
            raise ValueError(f"a chunk of {len(rows)} bytes, where {size} are due")
        return rows


def form_of(properties: h5py.h5p.PropDCID, row_bytes: int) -> Form | None:
    """The form of a table made with these properties; None where only the library knows it."""
    (chunk_rows,) = properties.get_chunk()
    filters = [properties.get_filter(number) for number in range(properties.get_nfilters())]
    kinds = [number for number, _, _, _ in filters]
    if not kinds:
        return Form(chunk_rows, row_bytes)
    if kinds == [_SHUFFLE, _DEFLATE]:
        return Form(chunk_rows, row_bytes, filters[1][2][0])
    return None


def append(table: h5py.h5d.DatasetID, form: Form | None, blocks: Iterable[np.ndarray], kind: h5py.h5t.TypeID) -> None:
    """Put rows at the end of the table, whose type is `kind`. Raises what the library raises, and ValueError."""
    for block in blocks:
        if form is None:
            _append_rows(table, kind, block)
        else:
            _append_chunks(table, form, block.tobytes())


def _append_chunks(table: h5py.h5d.DatasetID, form: Form, rows: bytes) -> None:
    """Put packed rows at the end of the table. Raises ValueError for a damaged chunk."""
    (start,) = table.shape
    end = start + len(rows) // form.row_bytes
    in_last = start % form.chunk_rows
    first = start - in_last
    if in_last:
        mask, chunk = table.read_direct_chunk((first,))
        if mask:
            raise ValueError("a chunk that was stored without its filters")
        rows = form.decoded(chunk)[: in_last * form.row_bytes] + rows
    table.set_extent((end,))
    step = form.chunk_rows * form.row_bytes
    for number, at in enumerate(range(0, len(rows), step)):
        table.write_direct_chunk((first + number * form.chunk_rows,), form.encoded(rows[at : at + step]))


def _append_rows(table: h5py.h5d.DatasetID, kind: h5py.h5t.TypeID, rows: np.ndarray) -> None:
    """Put rows at the end of the table, whatever its form."""
    space = table.get_space()
    (start,) = space.get_simple_extent_dims()
    table.set_extent((start + len(rows),))
    space.set_extent_simple((start + len(rows),), (h5py.h5s.UNLIMITED,))
    space.select_hyperslab((start,), (len(rows),))
    # With the type named, h5py need not make one of each of the block's columns again.
    table.write(h5py.h5s.create_simple((len(rows),)), space, rows, kind)


def _turned(block: bytes, width: int) -> bytes:
    """The bytes column by column, as a table that many bytes wide; and back, with the number of its lines."""
    return np.frombuffer(block, np.uint8).reshape(-1, width).T.tobytes()


def _unbuffered() -> h5py.h5p.PropDAID:
    properties = h5py.h5p.create(h5py.h5p.DATASET_ACCESS)
    properties.set_chunk_cache(1, 0, 0.0)
    return properties


UNBUFFERED = _unbuffered()
"""How a table is opened that rows are written to once: straight to the file, without a cache of its chunks."""
