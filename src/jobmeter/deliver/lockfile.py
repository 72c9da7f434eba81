"""A lock on a file: who holds it is alone. The kernel gives it up when its holder ends, however that comes about."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def alone(file: Path) -> Iterator[bool]:
    """Whether nobody else holds the lock of this file; then it is ours within. Raises OSError."""
    descriptor = opened(file)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def opened(file: Path) -> int:
    """The descriptor of the file, which is made where there is none. Raises OSError."""
    return os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
