"""Hears of control groups that are mounted later: by a batch system that does so itself, after the agent has begun."""

from __future__ import annotations

import logging
import os
import time

from jobmeter.contract import SourceAbsent, SourceUnreadable
from jobmeter.observe.cgroups import Hierarchies, hierarchies
from jobmeter.observe.host import Host

_REST_SECONDS = 5.0
"""File systems come and go all the time where containers do."""

log = logging.getLogger("jobmeter.run")


class Mounts:
    """Which trees there were at first. `descriptor` tells by POLLPRI that mounts have changed; None where it cannot."""

    def __init__(self, host: Host) -> None:
        self._host = host
        try:
            self.descriptor: int | None = os.open(host.path("/proc/self/mountinfo"), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self.descriptor = None
        self._trees = self._now()
        self._is_told = False
        self._looked = 0.0

    def have_changed(self, ready: set[int]) -> bool:
        """Whether there are other trees now; it is looked only when the kernel has told, and not all the time."""
        self._is_told |= self.descriptor in ready
        if not self._is_told or time.monotonic() - self._looked < _REST_SECONDS:
            return False
        self._is_told, self._looked = False, time.monotonic()
        before, self._trees = self._trees, self._now()
        if self._trees == before:
            return False
        log.info("node.trees_changed")
        return True

    def close(self) -> None:
        """Hear no more."""
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None

    def _now(self) -> Hierarchies | None:
        try:
            return hierarchies(self._host)
        except (SourceAbsent, SourceUnreadable):
            return None
