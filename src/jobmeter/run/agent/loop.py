"""Runs a node's agent: waits for the clock, for news of jobs and for signals."""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from jobmeter.observe.agent import Agent
from jobmeter.run.agent.metrics import MetricsFile
from jobmeter.run.agent.mounts import Mounts
from jobmeter.settings.deployment import Metrics

_STIR_LEAST_SECONDS, _STIR_SECONDS, _STIR_REST = 0.05, 0.5, 300
"""After being told of ends of tasks we rest for so many times as long as that took, within these bounds.

Most ends on a busy node are of tasks of no job. Where all were, the rest is doubled each time, within the same bounds:
then it is the kernel that keeps what it tells, and nothing is known later than it would be on a busier node.
"""


class Signals:
    """TERM and INT set `stop`; HUP sets `reload` as well, so that the settings are read again."""

    def __init__(self) -> None:
        self.stop = False
        self.reload = False
        self.woken, self._wake = socket.socketpair()
        self.woken.setblocking(False)
        self._wake.setblocking(False)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """The handlers are in place within; afterwards those from before are."""
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        before = {number: signal.signal(number, self._asked) for number in numbers}
        wake = signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(wake)
            for number, handler in before.items():
                signal.signal(number, handler)
            self.woken.close()
            self._wake.close()

    def asked(self) -> bool:
        """Whether the loop shall end, for good or to read the settings again."""
        return self.stop or self.reload

    def _asked(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self.reload = True
        else:
            self.stop = True


def loop(agent: Agent, signals: Signals, metrics: Metrics, mounts: Mounts | None = None) -> None:
    """Take turns until a signal comes. A first turn is taken at once. Other trees are as good as HUP."""
    poll = select.poll()
    poll.register(signals.woken, select.POLLIN)
    if mounts is not None and mounts.descriptor is not None:
        poll.register(mounts.descriptor, select.POLLPRI)
    news = agent.finder.descriptor
    if news is not None:
        poll.register(news, select.POLLIN)
    file = MetricsFile(metrics)
    ends = _Ends(agent, poll)
    look = 0.0
    while not signals.asked():
        now = time.monotonic()
        left = min((agent.next_ns() - time.time_ns()) / 1e9, look - now)
        if left <= 0:
            agent.turn()
            ends.renew()
            file.write(agent)
            look = time.monotonic() + agent.finder.patience_seconds
            continue
        ready = {number for number, _ in poll.poll(ends.within(left) * 1000 + 0.5)}
        if signals.woken.fileno() in ready:
            os.read(signals.woken.fileno(), 64)
        ends.heard(ready)
        if news in ready:
            look = 0.0
        if mounts is not None and mounts.have_changed(ready):
            signals.reload = True


class _Ends:
    """Listens to the ends of tasks, and rests after each time so that this never costs much."""

    def __init__(self, agent: Agent, poll: select.poll) -> None:
        self._agent = agent
        self._poll = poll
        self._numbers = agent.descriptors
        self._resume: float | None = 0.0
        self._rest = _STIR_LEAST_SECONDS

    def renew(self) -> None:
        """The agent may have a source now that tells of ends."""
        if self._numbers != self._agent.descriptors:
            for number in self._numbers if self._resume is None else ():
                self._poll.unregister(number)
            self._numbers, self._resume = self._agent.descriptors, 0.0

    def within(self, seconds: float) -> float:
        """How long may be waited: until it is time to listen again, or so long."""
        if self._resume is None:
            return seconds
        rest = self._resume - time.monotonic()
        if rest > 0:
            return min(seconds, rest)
        self._resume = None
        for number in self._numbers:
            self._poll.register(number, select.POLLIN)
        return seconds

    def heard(self, ready: set[int]) -> None:
        """Take in what was told, if anything was."""
        if self._resume is None and not ready.isdisjoint(self._numbers):
            stir = self._agent.stir()
            least = _STIR_LEAST_SECONDS if stir.jobs else self._rest * 2
            self._rest = min(_STIR_SECONDS, max(least, stir.seconds * _STIR_REST))
            self._resume = time.monotonic() + self._rest
            for number in self._numbers:
                self._poll.unregister(number)
