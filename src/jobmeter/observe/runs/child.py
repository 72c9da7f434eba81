"""A command as our child: started in its group, with our terminal and our standard streams; signals passed on; its end.

What a terminal sends reaches the child by itself, since it stays in our process group; what somebody sends to us alone
is passed on. Facts: signal(7), credentials(7), execve(2), prctl(2).
"""

from __future__ import annotations

import os
import resource
import signal
import threading
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue

from msgspec import Struct

from jobmeter.observe.runs.group import OwnGroup

NOT_FOUND, NOT_RUN = 127, 126
_FROM_KERNEL = 0x80
_PASSED_ON = (
    signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM,
    signal.SIGWINCH, signal.SIGCONT, signal.SIGTSTP,
)  # fmt: skip
_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)
_SUBREAPER = 36
_ERROR_BYTES = 8
_SLACK_BYTES = 2**20


class NotStarted(Exception):  # noqa: N818 - the name says the fact
    """The command cannot be run; `status` is what a shell would give, the message says why."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


class Used(Struct, frozen=True):
    """What the kernel says that the ended processes used which were waited for: seconds, bytes, counts.

    The largest process is not known where it was smaller than we are.
    """

    user_seconds: float
    system_seconds: float
    largest_resident_bytes: int | None
    read_bytes: int
    written_bytes: int
    voluntary_switches: int
    involuntary_switches: int


class Child:
    """The running command. While it lives, the signals that are passed on are blocked here and taken by a thread.

    `wait` gets them from there: Python's sigtimedwait gives a signal that never came where it was itself stopped and
    continued meanwhile.
    """

    def __init__(self, pid: int, mask: set[int], own_bytes: int) -> None:
        self.pid = pid
        self.began = time.monotonic()
        self.ended: float | None = None
        """When it ended, by the monotonic clock, also where `wait` hears of it later."""
        self.status: int | None = None
        """As of a shell: the exit status, or 128 and the number of the signal that ended it."""
        self.signal: int | None = None
        self.used: Used | None = None
        self._mask = mask
        self._own_bytes = own_bytes
        self._told: SimpleQueue[tuple[int, bool]] = SimpleQueue()
        threading.Thread(target=self._watch, name="end", daemon=True).start()
        threading.Thread(target=self._listen, name="signals", daemon=True).start()

    def wait(self, seconds: float) -> bool:
        """Wait so long at most, passing signals on. Whether the command has ended."""
        end = time.monotonic() + seconds
        while self.status is None:
            self._reap()
            left = end - time.monotonic()
            if self.status is not None or left <= 0:
                break
            with suppress(Empty):
                number, by_terminal = self._told.get(timeout=left)
                if number != signal.SIGCHLD:
                    self._pass_on(number, by_terminal=by_terminal)
        return self.status is not None

    def released(self) -> None:
        """Take signals as before the command was started, also those that came after its end."""
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        with suppress(Empty):
            while True:
                number, _ = self._told.get_nowait()
                if number != signal.SIGCHLD:
                    os.kill(os.getpid(), number)

    def _listen(self) -> None:
        while True:
            told = signal.sigwaitinfo((*_PASSED_ON, signal.SIGCHLD))
            self._told.put((told.si_signo, told.si_code == _FROM_KERNEL))

    def _watch(self) -> None:
        with suppress(ChildProcessError):
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        if self.ended is None:
            self.ended = time.monotonic()

    def _pass_on(self, number: int, *, by_terminal: bool) -> None:
        if not by_terminal:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)
        if number == signal.SIGTSTP:
            os.kill(os.getpid(), signal.SIGSTOP)

    def _reap(self) -> None:
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.pid:
                code = os.waitstatus_to_exitcode(status)
                self.signal = -code if code < 0 else None
                self.status = 128 - code if code < 0 else code
                if self.ended is None:
                    self.ended = time.monotonic()
                # What we were before we became the command counts in ru_maxrss, too: less than that is not known.
                largest = usage.ru_maxrss * 1024 if usage.ru_maxrss * 1024 > self._own_bytes else None
                self.used = Used(
                    usage.ru_utime, usage.ru_stime, largest, usage.ru_inblock * 512,
                    usage.ru_oublock * 512, usage.ru_nvcsw, usage.ru_nivcsw,
                )  # fmt: skip
                return


def start(argv: Sequence[str], group: OwnGroup | None) -> Child:
    """Start the command in its group. Raises NotStarted. To be called before there is a second thread."""
    if group is None:
        _become_subreaper()
    reading, writing = os.pipe2(os.O_CLOEXEC)
    own_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, (*_PASSED_ON, signal.SIGCHLD))
    pid = os.fork()
    if pid == 0:
        _become(argv, group, mask, writing)
    os.close(writing)
    with open(reading, "rb") as file:  # noqa: PTH123 - a descriptor
        number = file.read(_ERROR_BYTES)
    if not number:
        return Child(pid, {int(each) for each in mask}, own_bytes + _SLACK_BYTES)
    os.waitpid(pid, 0)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    fault = OSError(int(number), os.strerror(int(number)))
    missing = isinstance(fault, FileNotFoundError)
    raise NotStarted(f"{argv[0]}: {fault.strerror}", NOT_FOUND if missing else NOT_RUN)


def _become(argv: Sequence[str], group: OwnGroup | None, mask: set[int | signal.Signals], writing: int) -> None:
    """In the child: enter the group, be as a command started by a shell, and become the command. Does not return."""
    number = 0
    try:
        if group is not None:
            group.enter()
        for each in _BY_PYTHON:
            signal.signal(each, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.execvp(argv[0], list(argv))  # noqa: S606 - that is what was asked for
    except (OSError, ValueError) as fault:
        number = getattr(fault, "errno", None) or 22
    finally:
        os.write(writing, str(number or 22).encode())
        os._exit(NOT_RUN)


def _become_subreaper() -> None:
    """Keep the processes below us when their parents end, so that they are found and counted."""
    import ctypes  # noqa: PLC0415 - only where there is no control group

    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)


def descendants(proc: str, pid: int, apart: Collection[int] = ()) -> list[int]:
    """One process and those below it, without those `apart` and what is below them. What has just ended is left out."""
    found = [pid]
    for parent in found:
        with suppress(OSError, ValueError):
            for thread in os.listdir(f"{proc}/{parent}/task"):  # noqa: PTH208 - often
                with open(f"{proc}/{parent}/task/{thread}/children", "rb") as file:  # noqa: PTH123 - often
                    found += (child for child in map(int, file.read().split()) if child not in apart)
    return found
