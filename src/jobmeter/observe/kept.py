"""A file of the kernel that is read again and again: opened once, read from its beginning each time."""

from __future__ import annotations

import os

_FIRST_BYTES = 1 << 10
"""What is asked for at first. Asking for much costs more than the reading: room for all of it is made before."""

_PIECE_BYTES = 1 << 13


class KeptFile:
    """An open file of /proc, /sys or a control group. Opening and reading raise OSError."""

    __slots__ = ("_bytes", "_descriptor")

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._bytes = _FIRST_BYTES

    def read(self) -> bytes:
        """What it says now."""
        data = os.pread(self._descriptor, self._bytes, 0)
        while len(data) >= self._bytes:
            self._bytes = 4 * self._bytes
            data = os.pread(self._descriptor, self._bytes, 0)
        return data

    def read_all(self) -> bytes:
        """As `read`, for a file that the kernel gives record by record: a reading may end before it does."""
        data = os.pread(self._descriptor, _PIECE_BYTES, 0)
        while data and (more := os.pread(self._descriptor, _PIECE_BYTES, len(data))):
            data += more
        return data

    def close(self) -> None:
        """Close it; a second time does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def kept(path: str) -> KeptFile | None:
    """The file, or None where there is none or it may not be opened."""
    try:
        return KeptFile(path)
    except OSError:
        return None
