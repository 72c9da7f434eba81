"""Saying what keeps going wrong without filling the log: a kind of event once a minute, with how often it was."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

EVERY_SECONDS = 60.0


class Complaints:
    """Logs warnings by kind. Safe to call from several threads."""

    def __init__(self, log: logging.Logger, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._monotonic = monotonic
        self._last: dict[str, tuple[float, int]] = {}
        self._lock = threading.Lock()

    def tell(self, event: str, reason: str) -> None:
        """Log the event with its reason, unless one of its kind was logged within the last minute."""
        now = self._monotonic()
        with self._lock:
            last, held_back = self._last.get(event, (now - EVERY_SECONDS, 0))
            if now - last < EVERY_SECONDS:
                self._last[event] = (last, held_back + 1)
                return
            self._last[event] = (now, 0)
        self._log.warning("%s reason=%r not_shown=%d", event, reason[:500], held_back)
