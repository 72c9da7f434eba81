"""Devices of this machine, looked for anew every minute.

One may come later, with its driver, or be reset: then an open file of it is of a device that is no more, and says
nothing ever after.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

T = TypeVar("T")

_SECONDS = 60.0


class Renewed(Generic[T]):
    """What `find` finds, by name; `close` is called for what is given up."""

    def __init__(self, find: Callable[[], dict[str, T]], close: Callable[[T], None]) -> None:
        self._find = find
        self._close = close
        self._devices = find()
        self._at = time.monotonic()

    def devices(self) -> Mapping[str, T]:
        """Those that are there; the former ones where none is found."""
        if time.monotonic() - self._at >= _SECONDS:
            self._at = time.monotonic()
            if found := self._find():
                self.close()
                self._devices = found
        return self._devices

    def close(self) -> None:
        """Give up all."""
        for device in self._devices.values():
            self._close(device)
        self._devices = {}
