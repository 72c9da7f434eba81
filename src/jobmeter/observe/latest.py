"""A value that takes long to get, from a tool or a slow device: got by a thread of its own, the latest one at hand."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from jobmeter.contract import SourceUnreadable

T = TypeVar("T")


class Latest(Generic[T]):
    """Calls `get` every so often in a thread; `take` never waits. `get` raises SourceUnreadable, and ends in time."""

    def __init__(self, name: str, get: Callable[[], T], every_seconds: float) -> None:
        self._get = get
        self._every_seconds = every_seconds
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._value: tuple[T, int] | None = None
        self._fault: str | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def take(self) -> tuple[T, int] | None:
        """The value that came since the last call, with the time of it (ns since 1970); None when none did.

        Raises SourceUnreadable for as long as the value cannot be got.
        """
        with self._lock:
            value, self._value, fault = self._value, None, self._fault
        if fault is not None:
            raise SourceUnreadable(fault)
        return value

    def close(self) -> None:
        """Ask the thread to end. What it is waiting for ends by its own time limit."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            started = time.monotonic()
            try:
                value, fault = (self._get(), time.time_ns()), None
            except SourceUnreadable as told:
                value, fault = None, str(told)
            with self._lock:
                self._value, self._fault = value, fault
            self._stop.wait(max(0.05, self._every_seconds - (time.monotonic() - started)))
