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
from jobmeter.run.node_metrics import MetricsFile
from jobmeter.settings.deployment import Metrics

_STIR_SECONDS, _STIR_REST = 0.5, 100
"""After being told of ends of tasks we rest for so many times as long as that took, and for so long at most."""

_LOOK_SECONDS = 1.0
"""How often is looked for jobs when the periods of the sources are longer."""


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


def loop(agent: Agent, signals: Signals, metrics: Metrics) -> None:
    """Take turns until a signal comes. A first turn is taken at once."""
    poll = select.poll()
    poll.register(signals.woken, select.POLLIN)
    if agent.finder.descriptor is not None:
        poll.register(agent.finder.descriptor, select.POLLIN)
    file = MetricsFile(metrics)
    agent.turn()
    resume = 0.0
    listening = False
    while not signals.asked():
        if not listening and time.monotonic() >= resume:
            listening = True
            for number in agent.descriptors:
                poll.register(number, select.POLLIN)
        left = min((agent.next_ns() - time.time_ns()) / 1e9, _LOOK_SECONDS)
        if not listening:
            left = min(left, resume - time.monotonic())
        ready = {number for number, _ in poll.poll(max(0.0, left) * 1000 + 0.5)}
        if signals.woken.fileno() in ready:
            os.read(signals.woken.fileno(), 64)
        if ready.intersection(agent.descriptors):
            rest = min(_STIR_SECONDS, agent.stir() * _STIR_REST)
            listening, resume = False, time.monotonic() + rest
            for number in agent.descriptors:
                poll.unregister(number)
        if not signals.asked():
            agent.turn()
            file.write(agent)
