"""Rows of one table in memory until they are written: of each its numbers, and its texts by their place in a list.

In the layout of Colmet two of three bytes of a row are the padding of texts that hardly ever change.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from jobmeter.sinks.hdf5.packing import Packing

TABLE_BYTES = 400
"""About what a table takes in memory besides its rows."""
_TEXTS_BYTES = 250
_BLOCK_BYTES = 2**20


class Texts:
    """The texts of rows of all tables, each combination once. `size_bytes` is about what they take."""

    def __init__(self) -> None:
        self._places: dict[tuple[bytes, ...], int] = {}
        self._texts: list[tuple[bytes, ...]] = []
        self.size_bytes = 0

    def place(self, texts: tuple[bytes, ...]) -> int:
        """The place of these texts, which are remembered."""
        found = self._places.get(texts)
        if found is None:
            found = self._places[texts] = len(self._texts)
            self._texts.append(texts)
            self.size_bytes += _TEXTS_BYTES + sum(map(len, texts))
        return found

    def at(self, place: int) -> tuple[bytes, ...]:
        """The texts at a place."""
        return self._texts[place]


class Held:
    """Rows of one layout, in the order in which they came."""

    __slots__ = ("_numbers", "_texts", "packing")

    def __init__(self, packing: Packing, texts: Texts) -> None:
        self.packing = packing
        self._numbers = bytearray()
        self._texts = texts

    def __len__(self) -> int:
        return len(self._numbers) // self.packing.packed_bytes

    @property
    def size_bytes(self) -> int:
        """About what they take in memory, besides their texts."""
        return TABLE_BYTES + len(self._numbers)

    def add(self, values: Sequence[object]) -> None:
        """Take a row of values in the order of the packing's names."""
        self._numbers += self.packing.packed(values, self._texts.place)

    def blocks(self) -> Iterator[np.ndarray]:
        """All rows in their layout, so many at once that they take little memory."""
        step = max(1, _BLOCK_BYTES // self.packing.layout.itemsize)
        for first in range(0, len(self), step):
            yield self._block(first, min(step, len(self) - first))

    def _block(self, first: int, rows: int) -> np.ndarray:
        packing = self.packing
        size, width = packing.layout.itemsize, packing.packed_bytes
        content = bytearray(rows * size)
        raw = np.frombuffer(content, np.uint8).reshape(rows, size)
        packed = np.frombuffer(self._numbers, np.uint8, rows * width, first * width).reshape(rows, width)
        for span in packing.spans:
            raw[:, span.at : span.at + span.size] = packed[:, span.packed_at : span.packed_at + span.size]
        table = np.frombuffer(content, packing.layout)
        places = packing.text_places(self._numbers, first, rows).tolist()
        if places.count(places[0]) == rows:
            for name, text in zip(packing.texts, self._texts.at(places[0]), strict=True):
                table[name] = text
        else:
            for column, name in enumerate(packing.texts):
                table[name] = [self._texts.at(place)[column] for place in places]
        return table
