"""A file of the kernel that is read again and again: opened once, read from its beginning each time."""

from __future__ import annotations

import os

SIZE_MAX_BYTES = 1 << 18


class KeptFile:
    """An open file of /proc, /sys or a control group. Opening and reading raise OSError."""

    __slots__ = ("_descriptor",)

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def read(self) -> bytes:
        """What it says now."""
        return os.pread(self._descriptor, SIZE_MAX_BYTES, 0)

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
