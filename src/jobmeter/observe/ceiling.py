"""The most that the agent may cost: over it, the periods of all sources are lengthened, and that is said."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

log = logging.getLogger("jobmeter.observe")

_WINDOW_NS = 30_000_000_000
_STRETCH_MAX = 64
_RELAX_BELOW = 0.4
"""A period is only halved again when twice the cost would still be well below the ceiling."""


class Ceiling:
    """Compares the program's processor time with what it may use. `stretch` is what periods are multiplied by."""

    def __init__(
        self, percent: float, *, window_ns: int = _WINDOW_NS, used_ns: Callable[[], int] = time.process_time_ns
    ) -> None:
        self.stretch = 1
        self._share = percent / 100
        self._window_ns = window_ns
        self._used_ns = used_ns
        self._since: tuple[int, int] | None = None

    def judge(self, now_ns: int) -> None:
        """Called after each reading; `now_ns` is wall time."""
        used = self._used_ns()
        if self._since is None:
            self._since = (now_ns, used)
            return
        passed = now_ns - self._since[0]
        if 0 <= passed < self._window_ns:
            return
        share = (used - self._since[1]) / passed if passed > 0 else 0.0
        self._since = (now_ns, used)
        if share > self._share and self.stretch < _STRETCH_MAX:
            self.stretch *= 2
            log.warning(
                "node.over_budget used_percent=%.2f allowed_percent=%.2f periods_are_now=%dx",
                share * 100,
                self._share * 100,
                self.stretch,
            )
        elif self.stretch > 1 and share < self._share * _RELAX_BELOW:
            self.stretch //= 2
            log.info("node.within_budget used_percent=%.2f periods_are_now=%dx", share * 100, self.stretch)
