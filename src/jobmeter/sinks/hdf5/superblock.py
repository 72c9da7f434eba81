"""What a writer that was killed leaves in an HDF5 file: marks that say it is being written, which keep everybody out.

Source of the fact: the HDF5 file format specification, version 3.0, on superblocks of version 3: byte 11 holds the
marks, and the last four bytes of the 48 are Jenkins' lookup3 check sum of the others. `h5clear` of the HDF5 tools does
the same.
"""

from __future__ import annotations

from pathlib import Path

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_VERSION_PLACE, _OFFSET_SIZE_PLACE, _MARKS_PLACE = 8, 9, 11
_MARKED_VERSION = 3
_MARKS = 0x05
_ALL = 0xFFFFFFFF


def clear_marks(file: Path) -> bool:
    """Take a dead writer's marks away. Gives whether there were any. Nobody may have the file open. Raises OSError."""
    with file.open("r+b") as stream:
        block = bytearray(stream.read(96))
        if not block.startswith(_SIGNATURE) or block[_VERSION_PLACE] != _MARKED_VERSION:
            return False
        size = 12 + 4 * block[_OFFSET_SIZE_PLACE]
        if not block[_MARKS_PLACE] & _MARKS or len(block) < size + 4:
            return False
        block[_MARKS_PLACE] &= ~_MARKS & 0xFF
        block[size : size + 4] = lookup3(bytes(block[:size])).to_bytes(4, "little")
        stream.seek(0)
        stream.write(block[: size + 4])
    return True


def lookup3(key: bytes) -> int:
    """Bob Jenkins' hashlittle of 2006 with the start value 0, which HDF5 sums its metadata up by."""
    a = b = c = (0xDEADBEEF + len(key)) & _ALL
    while len(key) > 12:
        a, b, c = _mixed(*(_sum(old, key, place) for old, place in ((a, 0), (b, 4), (c, 8))))
        key = key[12:]
    if not key:
        return c
    return _final(*(_sum(old, key, place) for old, place in ((a, 0), (b, 4), (c, 8))))


def _sum(old: int, key: bytes, place: int) -> int:
    return (old + int.from_bytes(key[place : place + 4], "little")) & _ALL


def _turned(value: int, bits: int) -> int:
    return ((value << bits) | (value >> (32 - bits))) & _ALL


def _mixed(a: int, b: int, c: int) -> tuple[int, int, int]:
    for bits in (4, 6, 8, 16, 19, 4):
        a = ((a - c) & _ALL) ^ _turned(c, bits)
        c = (c + b) & _ALL
        a, b, c = b, c, a
    return a, b, c


def _final(a: int, b: int, c: int) -> int:
    for bits in (14, 11, 25, 16, 4, 14, 24):
        c = ((c ^ b) - _turned(b, bits)) & _ALL
        a, b, c = b, c, a
    return b
