"""Which record ids are archived, and where: 38 bits of each id, in three bytes in the database and eight in memory.

A new record must be told from one that was archived, at the rate of bulk inserts and without opening a file. An id that
is not archived is taken for one that is with a chance of the number of archived records in 2^38, four in a hundred
thousand at ten million; only then, and for repeats, a file is looked at.
"""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator

DIGEST_BITS = 38
_FILE_BITS = 24
_FILE_MASK = (1 << _FILE_BITS) - 1
_FACTOR = 4
_WIDTHS = (2, 3, 4, 5)
"""Bytes of a gap. A hundred thousand digests of 38 bits are 2.7 million apart on average: nearly all fit into three."""
_WIDE_BYTES = 5


def digest_of(key: str) -> int:
    """The 38 bits that stand for a key."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=_WIDE_BYTES).digest(), "big") >> 2


def packed(digests: Iterable[int]) -> bytes:
    """Digests as they are kept in the database: a byte with the width, then the gaps between them, sorted.

    A gap that does not fit into the width stands behind the largest number of that width.
    """
    gaps = []
    last = 0
    for digest in sorted(digests):
        gaps.append(digest - last)
        last = digest
    width = min(_WIDTHS, key=lambda width: sum(width if gap < _escape(width) else width + _WIDE_BYTES for gap in gaps))
    escape = _escape(width)
    pieces = [bytes([width])]
    for gap in gaps:
        if gap < escape:
            pieces.append(gap.to_bytes(width, "big"))
        else:
            pieces.append(escape.to_bytes(width, "big") + gap.to_bytes(_WIDE_BYTES, "big"))
    return b"".join(pieces)


def unpacked(gaps: bytes) -> Iterator[int]:
    """The digests, sorted."""
    width = gaps[0]
    escape = _escape(width)
    digest, at = 0, 1
    while at < len(gaps):
        gap = int.from_bytes(gaps[at : at + width], "big")
        at += width
        if gap == escape:
            gap = int.from_bytes(gaps[at : at + _WIDE_BYTES], "big")
            at += _WIDE_BYTES
        digest += gap
        yield digest


def _escape(width: int) -> int:
    return (1 << 8 * width) - 1


class IdSet:
    """Digests with the numbers of their files, eight bytes each, in a few sorted arrays of growing size."""

    def __init__(self) -> None:
        self._tiers: list[array[int]] = []

    def __len__(self) -> int:
        return sum(map(len, self._tiers))

    def add(self, number: int, digests: Iterable[int]) -> None:
        """Take in the sorted digests of the file `number`."""
        tier = array("Q", (digest << _FILE_BITS | number for digest in digests))
        tiers = [*self._tiers]
        while tiers and len(tiers[-1]) < _FACTOR * len(tier):
            # Two sorted runs: the sort is a merge.
            tier = array("Q", sorted([*tiers.pop(), *tier]))
        self._tiers = [*tiers, tier]

    def files_of(self, key: str) -> list[int]:
        """The numbers of the files that may hold `key`."""
        first = digest_of(key) << _FILE_BITS
        last = first | _FILE_MASK
        found = []
        for tier in self._tiers:
            at = bisect_left(tier, first)
            while at < len(tier) and tier[at] <= last:
                found.append(tier[at] & _FILE_MASK)
                at += 1
        return found
