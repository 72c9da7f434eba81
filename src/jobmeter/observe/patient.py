"""Questions that may never be answered: a process stuck in the kernel, a file on a server that is gone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Patient(Generic[T]):
    """Asks in a thread and waits for so long. A question that is still open is not asked again."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._open: dict[str, threading.Thread] = {}

    def ask(self, about: str, question: Callable[[], T]) -> T | None:
        """The answer, None where there is none in time. The question raises nothing."""
        if (thread := self._open.get(about)) is not None and thread.is_alive():
            return None
        answers: list[T] = []
        # A daemon: the thread may hang for ever within the kernel, and keeps nobody from ending.
        thread = threading.Thread(target=lambda: answers.append(question()), name="patient", daemon=True)
        self._open[about] = thread
        thread.start()
        thread.join(self._seconds)
        if not thread.is_alive():
            del self._open[about]
        return answers[0] if answers else None
