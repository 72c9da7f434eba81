"""A value that takes long to get, from a tool or a slow device: got by a thread of its own, the latest one at hand."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from jobmeter.contract import SourceUnreadable

T = TypeVar("T")

_CLOSE_SECONDS = 2.0
_PATIENCE_SECONDS = 60.0


class Latest(Generic[T]):
    """Calls `get` every so often in a thread; `take` never waits.

    `get` raises SourceUnreadable, ends in time, and soon once the event that it is given is set. What hangs in the
    kernel does not: when it lasts longer than `patience_seconds`, that is said, and it is not called a second time.
    """

    def __init__(
        self,
        name: str,
        get: Callable[[threading.Event], T],
        every_seconds: float,
        patience_seconds: float = _PATIENCE_SECONDS,
    ) -> None:
        self._get = get
        self._patience_seconds = patience_seconds
        self._began: float | None = None
        self._every_seconds = every_seconds
        self._stop = threading.Event()
        self._told = threading.Event()
        self._lock = threading.Lock()
        self._value: tuple[T, int] | None = None
        self._fault: str | None = None
        self._name = name
        self._start()

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def take(self) -> tuple[T, int] | None:
        """The value that came since the last call, with the time of it (ns since 1970); None when none did.

        Raises SourceUnreadable for as long as the value cannot be got. A thread that was ended by an unforeseen fault
        begins again; its traceback was printed.
        """
        if not self._thread.is_alive() and not self._stop.is_set():
            self._start()
            raise SourceUnreadable(f"the thread {self._name} ended by a fault and begins again")
        with self._lock:
            value, self._value, fault, began = self._value, None, self._fault, self._began
        if began is not None and time.monotonic() - began > self._patience_seconds:
            raise SourceUnreadable(f"it has not answered for more than {self._patience_seconds:.0f} s")
        if fault is not None:
            raise SourceUnreadable(fault)
        return value

    def await_first(self, seconds: float) -> None:
        """Wait until something was got, or could not be, for so long at most."""
        self._told.wait(seconds)

    def close(self) -> None:
        """End the thread with what it has running. A device that does not answer is not waited for."""
        self._stop.set()
        self._thread.join(_CLOSE_SECONDS)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._began = started = time.monotonic()
            try:
                value, fault = (self._get(self._stop), time.time_ns()), None
            except SourceUnreadable as told:
                value, fault = None, str(told)
            with self._lock:
                self._value, self._fault, self._began = value, fault, None
            self._told.set()
            self._stop.wait(max(0.05, self._every_seconds - (time.monotonic() - started)))
