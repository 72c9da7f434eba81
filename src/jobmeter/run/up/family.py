"""Several processes as one: begun, watched, begun again when they fall, and ended in order by one signal.

The process that watches has one thread and does nothing else, so that it can fork at any time. What a member writes
goes into a file of its own; the terminal stays for what a person is told.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

log = logging.getLogger("jobmeter.run")

PAUSE_SECONDS, PAUSE_SECONDS_MAX = 2.0, 60.0
STEADY_SECONDS = 60.0
"""A member that lived so long did not fall at its start."""
END_SECONDS = 40.0
LOG_BYTES_MAX = 16 * 2**20
_PR_SET_PDEATHSIG = 1
_ASKED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_HEARD = frozenset({*_ASKED, signal.SIGCHLD})


class Member(Struct):
    """A process to keep: what it does gives its exit code. `pid` is None while it does not run."""

    name: str
    work: Callable[[], int]
    pid: int | None = None
    born: float = 0.0
    due: float = 0.0
    pause_seconds: float = PAUSE_SECONDS


class Family:
    """The members in the order in which they are begun; they are ended in the opposite one.

    `told` is called with a sentence when a member fell.
    """

    def __init__(self, logs: Path, told: Callable[[str], None]) -> None:
        self._logs = logs
        self._told = told
        self._members: list[Member] = []

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Within, signals wait until `pause` looks at them."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def begin(self, name: str, work: Callable[[], int]) -> None:
        """Add a member and start it."""
        member = Member(name, work)
        self._members.append(member)
        self._start(member)

    def runs(self, name: str) -> bool:
        """Whether a member is alive, as far as `pause` has noticed."""
        return any(each.name == name and each.pid is not None for each in self._members)

    def names(self) -> list[str]:
        """The members, in order."""
        return [each.name for each in self._members]

    def pause(self, seconds: float) -> bool:
        """Wait for so long, looking after the members. False as soon as a signal asks to end."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            heard = signal.sigtimedwait(_HEARD, min(left, 0.5))
            if heard is not None and heard.si_signo in (signal.SIGTERM, signal.SIGINT):
                return False
            self._reap()
            for member in self._members:
                if member.pid is None and member.due <= time.monotonic():
                    self._start(member)
        return True

    def end(self) -> list[str]:
        """End all members, the last first; the names of those that had to be killed. A second signal kills at once."""
        killed = []
        for group in self._in_turn():
            for member in group:
                _send(member, signal.SIGTERM)
            killed += self._ended(group)
        return killed

    def _in_turn(self) -> list[Sequence[Member]]:
        """All but the first together, and then the first, to which they hand what they have."""
        return [[*reversed(self._members[1:])], self._members[:1]]

    def _ended(self, group: Sequence[Member]) -> list[str]:
        deadline = time.monotonic() + END_SECONDS
        while any(member.pid is not None for member in group):
            self._reap(ending=True)
            heard = signal.sigtimedwait(_HEARD, 0.05)
            again = heard is not None and heard.si_signo in (signal.SIGTERM, signal.SIGINT)
            if again or time.monotonic() > deadline:
                left = [member for member in group if member.pid is not None]
                for member in left:
                    _send(member, signal.SIGKILL)
                    os.waitpid(member.pid or 0, 0)
                    member.pid = None
                return [member.name for member in left]
        return []

    def _reap(self, *, ending: bool = False) -> None:
        for member in self._members:
            if member.pid is None:
                continue
            pid, status = os.waitpid(member.pid, os.WNOHANG)
            if pid == 0:
                continue
            member.pid = None
            if not ending:
                self._fell(member, os.waitstatus_to_exitcode(status))

    def _fell(self, member: Member, code: int) -> None:
        steady = time.monotonic() - member.born > STEADY_SECONDS
        member.pause_seconds = PAUSE_SECONDS if steady else min(member.pause_seconds * 2, PAUSE_SECONDS_MAX)
        member.due = time.monotonic() + member.pause_seconds
        self._told(
            f"{member.name} ended by itself with code {code} and starts again in {member.pause_seconds:g} s; "
            f"why: {self.log_file(member.name)}"
        )

    def log_file(self, name: str) -> Path:
        """Where a member's words are."""
        return self._logs / f"{name}.log"

    def _start(self, member: Member) -> None:
        file = self.log_file(member.name)
        with contextlib.suppress(FileNotFoundError):
            if file.stat().st_size > LOG_BYTES_MAX:
                file.replace(file.with_suffix(".log.1"))
        parent = os.getpid()
        pid = os.fork()
        if pid:
            member.pid, member.born = pid, time.monotonic()
            return
        code = 1
        try:
            _become(parent, file)
            code = member.work()
        except Exception:  # a supervisor: the member is begun again, and its file says what it fell over
            log.exception("up.fell member=%s", member.name)
        finally:
            # Never back into what the watching process was doing when it made this one.
            logging.shutdown()
            os._exit(code)


def apart(work: Callable[[], int]) -> int:
    """Do something in a process of its own and wait for it: its exit code. This one keeps its single thread."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = 1
    try:
        code = work()
    except Exception:  # a supervisor: the code says that it failed, the log why
        log.exception("up.failed")
    finally:
        sys.stdout.flush()
        logging.shutdown()
        os._exit(code)


def _become(parent: int, file: Path) -> None:
    """What a fresh process does first: end with its parent, hear signals itself, and speak into its file."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(1)
    # A group of its own: what is typed at the terminal reaches the watching process alone, which ends all in order.
    os.setpgid(0, 0)
    for number in _ASKED:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HEARD)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)


def _send(member: Member, number: int) -> None:
    if member.pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(member.pid, number)
