"""Several worker processes behind the same sockets, and the one that watches over them.

All workers accept from the same listening sockets, so a worker that dies takes only its own connections along, and
nothing that waits to be accepted. It is replaced. Signals to the watching process reach all of them.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

log = logging.getLogger("jobmeter.run")

PAUSE_SECONDS = 1.0
PAUSE_SECONDS_MAX = 30.0
STEADY_SECONDS = 60.0
"""A worker that lived so long did not fail at its start."""
_PR_SET_PDEATHSIG = 1
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

Work = Callable[[Callable[[], None]], int]
"""What a worker does: it is given what to call when it is ready, and returns its exit code."""


class Workers:
    """`count` processes that do `work`. To be made by a process with one thread."""

    def __init__(self, count: int, work: Work, ready: Callable[[], None], gone: Callable[[int], None]) -> None:
        self._count = count
        self._work = work
        self._ready = ready
        self._gone = gone
        self._born: dict[int, float] = {}
        self._stopping = False
        self._pause_seconds = PAUSE_SECONDS

    def run(self) -> int:
        """Start all, say when all are ready, and see that they live until SIGTERM or SIGINT. The exit code.

        `gone` is called with the process id of each that has ended.
        """
        handlers = {signal.SIGTERM: self._stop, signal.SIGINT: self._stop, signal.SIGHUP: self._pass_on}
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            return self._watched()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _watched(self) -> int:
        reading, writing = os.pipe()
        for _ in range(self._count):
            self._start(writing)
        os.close(writing)
        said = 0
        while said < self._count and (told := os.read(reading, self._count)):
            said += len(told)
        os.close(reading)
        if said < self._count and not self._stopping:
            log.error("workers.not_ready ready=%d wanted=%d", said, self._count)
            self._stop(signal.SIGTERM, None)
            self._collect()
            return 1
        if not self._stopping:
            self._ready()
        self._collect()
        return 0

    def _collect(self) -> None:
        """Wait for ends; replace what ends by itself."""
        while self._born:
            pid, status = os.waitpid(-1, 0)
            born = self._born.pop(pid, None)
            if born is None:
                continue
            self._gone(pid)
            if self._stopping:
                continue
            steady = time.monotonic() - born > STEADY_SECONDS
            self._pause_seconds = PAUSE_SECONDS if steady else min(self._pause_seconds * 2, PAUSE_SECONDS_MAX)
            code = os.waitstatus_to_exitcode(status)
            log.error("worker.ended pid=%d code=%d again_in_seconds=%g", pid, code, self._pause_seconds)
            self._wait(self._pause_seconds)
            self._start(None)

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self._stopping and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 0.2))

    def _start(self, telling: int | None) -> None:
        """Make a worker, unless all shall end."""
        parent = os.getpid()
        # A signal waits until the one knows its worker, and the other is not taken for the watching process any more.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        if self._stopping:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            return
        pid = os.fork()
        if pid:
            self._born[pid] = time.monotonic()
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            return
        code = 1
        try:
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            _end_with(parent)
            code = self._work(lambda: None if telling is None else _tell(telling))
        finally:
            # Never back into what the watching process was doing when it made this one.
            logging.shutdown()
            os._exit(code)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True
        self._pass_on(signal.SIGTERM if number == signal.SIGINT else number, frame)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        del frame
        for pid in list(self._born):
            with suppress(ProcessLookupError):  # it has ended, and we are just about to hear of it
                os.kill(pid, number)


def _tell(telling: int) -> None:
    os.write(telling, b".")
    os.close(telling)


def _end_with(parent: int) -> None:
    """Get SIGTERM when the watching process ends, however that may be."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(1)
