"""Answers that are shown to many for a few seconds: pages that look again and again cost the database little."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from time import monotonic
from typing import TypeVar, cast

ANSWERS_MAX = 256

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
        if (found := self._fresh(key, seconds)) is not None:
            return cast("T", found[0])
        with self._lock:
            asking = self._asking.setdefault(key, threading.Lock())
        with asking:
            if (found := self._fresh(key, seconds)) is not None:
                return cast("T", found[0])
            try:
                answer = question()
            finally:
                with self._lock:
                    self._asking.pop(key, None)
            with self._lock:
                self._answers[key] = self._clock(), answer
                self._answers.move_to_end(key)
                while len(self._answers) > ANSWERS_MAX:
                    self._answers.popitem(last=False)
        return answer

    def _fresh(self, key: Hashable, seconds: float) -> tuple[object] | None:
        with self._lock:
            found = self._answers.get(key)
            if found is None or self._clock() - found[0] > seconds:
                return None
            self._answers.move_to_end(key)
            return (found[1],)
