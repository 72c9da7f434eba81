"""Which pods were recorded, of however many still stand in the API server: 64 bits of a digest for each name.

A table of places, probed one after the other: 12 to 24 bytes a name, where a set of texts takes 100. Two names with one
mark, of which the second would be taken for recorded, are among a million standing pods a chance of 1 in 37 million.
"""

from __future__ import annotations

import sys
from array import array
from base64 import b64decode
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Self

_FEWEST_PLACES = 8
_EMPTY = 0


class Marks:
    """A set of names that can be asked whether a name is in it, and not which are."""

    __slots__ = ("_count", "_places")

    def __init__(self, marks: Iterable[int] = ()) -> None:
        self._places = array("Q", bytes(8 * _FEWEST_PLACES))
        self._count = 0
        for mark in marks:
            self._put(mark)

    def __contains__(self, name: str) -> bool:
        return self._places[self._place(_mark(name))] != _EMPTY

    def __len__(self) -> int:
        return self._count

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Marks) and set(self._marks()) == set(other._marks())

    __hash__ = None  # type: ignore[assignment]

    def __iand__(self, other: Marks) -> Self:
        """Keep what is in the other, too."""
        both = Marks(mark for mark in self._marks() if other._places[other._place(mark)] != _EMPTY)
        self._places, self._count = both._places, both._count
        return self

    def add(self, name: str) -> None:
        """Have the name in the set."""
        self._put(_mark(name))

    def discard(self, name: str) -> None:
        """Have the name no longer in the set."""
        places, last = self._places, len(self._places) - 1
        hole = self._place(_mark(name))
        if places[hole] == _EMPTY:
            return
        self._count -= 1
        # What was put behind the hole because its own place was taken moves up, so that no search ends too early.
        at = hole
        while (mark := places[at := (at + 1) & last]) != _EMPTY:
            if (at - mark) & last >= (at - hole) & last:
                places[hole] = mark
                hole = at
        places[hole] = _EMPTY

    def packed(self) -> bytes:
        """The marks, eight bytes each, the least one first."""
        return _least_first(array("Q", self._marks())).tobytes()

    @classmethod
    def unpacked(cls, text: str) -> Marks:
        """The set of which `text` is the packed form in Base64. Raises ValueError."""
        marks = array("Q")
        marks.frombytes(b64decode(text, validate=True))
        return cls(_least_first(marks))

    def _marks(self) -> Iterator[int]:
        return (mark for mark in self._places if mark != _EMPTY)

    def _place(self, mark: int) -> int:
        """Where the mark is, or the empty place where it belongs."""
        places, last = self._places, len(self._places) - 1
        at = mark & last
        while places[at] not in (mark, _EMPTY):
            at = (at + 1) & last
        return at

    def _put(self, mark: int) -> None:
        at = self._place(mark)
        if self._places[at] == _EMPTY:
            self._places[at] = mark
            self._count += 1
            if 3 * self._count > 2 * len(self._places):
                self._grow()

    def _grow(self) -> None:
        marks, self._count = self._places, 0
        self._places = array("Q", bytes(16 * len(marks)))
        for mark in marks:
            if mark != _EMPTY:
                self._places[self._place(mark)] = mark
                self._count += 1


def _mark(name: str) -> int:
    digest = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") or 1  # 0 is an empty place


def _least_first(marks: array[int]) -> array[int]:
    """The numbers with their least byte first, or as they were with it first."""
    if sys.byteorder == "big":
        marks.byteswap()
    return marks
