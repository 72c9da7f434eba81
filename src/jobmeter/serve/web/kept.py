"""Answers that are shown to many for a few seconds: pages that look again and again cost the database little."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from time import monotonic
from typing import TypeVar, cast

ANSWERS_MAX = 256
COSTS = 200
"""An answer is kept for so many times what it took, at most: what comes quickly is fresh, and the rest costs little."""

T = TypeVar("T")


class Kept:
    """The last answers; beyond ANSWERS_MAX the least recently used is forgotten. One per application; thread-safe."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._answers: OrderedDict[Hashable, tuple[float, object]] = OrderedDict()
        self._asking: dict[Hashable, threading.Lock] = {}

    def ask(self, key: Hashable, seconds: float, question: Callable[[], T]) -> T:
        """The answer to `question`, at most so old. Of several who ask at once one asks. What it raises is not kept."""
        if (found := self._fresh(key)) is not None:
            return cast("T", found[0])
        with self._lock:
            asking = self._asking.setdefault(key, threading.Lock())
        with asking:
            if (found := self._fresh(key)) is not None:
                return cast("T", found[0])
            began = self._clock()
            try:
                answer = question()
            finally:
                with self._lock:
                    self._asking.pop(key, None)
            with self._lock:
                now = self._clock()
                self._answers[key] = now + min(seconds, COSTS * (now - began)), answer
                self._answers.move_to_end(key)
                while len(self._answers) > ANSWERS_MAX:
                    self._answers.popitem(last=False)
        return answer

    def _fresh(self, key: Hashable) -> tuple[object] | None:
        with self._lock:
            found = self._answers.get(key)
            if found is None or self._clock() > found[0]:
                return None
            self._answers.move_to_end(key)
            return (found[1],)
