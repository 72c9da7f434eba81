"""A log in memory, for those who want no files: what is in it is lost with the process."""

from __future__ import annotations

import threading
from collections import deque

from jobmeter.deliver.log import Logged, Taken


class MemoryLog:
    """See `jobmeter.deliver.log.Log`. Beyond its bound the oldest entries go; a reader counts those it did not get."""

    durable = False

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: deque[Logged] = deque()
        self._next = 1
        self._size_bytes = 0
        self._gone_weight = 0
        """The weight of all entries that were here and are not any more."""
        self._changed = threading.Condition()

    @property
    def next_number(self) -> int:
        """The number that the next entry will get."""
        return self._next

    @property
    def size_bytes(self) -> int:
        """How many bytes are held."""
        return self._size_bytes

    def append(self, body: bytes, weight: int) -> int:
        """Add an entry and give its number. The oldest make room."""
        with self._changed:
            number = self._next
            self._entries.append(Logged(number, weight, body))
            self._next += 1
            self._size_bytes += len(body)
            while self._size_bytes > self._max_bytes and len(self._entries) > 1:
                self._popped()
            self._changed.notify_all()
            return number

    def sync(self) -> None:
        """Nothing is durable here."""

    def reader(self, number: int) -> _Reader:
        """A place before the entry of that number."""
        return _Reader(self, number)

    def forget(self, before: int) -> None:
        """Drop what is below that number."""
        with self._changed:
            while self._entries and self._entries[0].number < before:
                self._popped()

    def wait(self, number: int, seconds: float) -> bool:
        """Whether there is an entry of that number, after at most so long."""
        with self._changed:
            if self._next <= number:
                self._changed.wait(seconds)
            return self._next > number

    def wake(self) -> None:
        """Let everybody who waits look again."""
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """Forget all."""
        self._entries.clear()

    def _popped(self) -> None:
        entry = self._entries.popleft()
        self._size_bytes -= len(entry.body)
        self._gone_weight += entry.weight

    def _weight_before(self, number: int) -> int:
        """The weight of all entries below that number that there ever were, as far as they are known."""
        with self._changed:
            return self._gone_weight + sum(entry.weight for entry in self._entries if entry.number < number)

    def _after(self, number: int, passed_weight: int, most_weight: int) -> Taken:
        with self._changed:
            first = self._entries[0].number if self._entries else self._next
            skipped = max(0, first - number)
            lost = self._gone_weight - passed_weight if skipped else 0
            found: list[Logged] = []
            weight = 0
            for place in range(max(0, number - first), len(self._entries)):
                entry = self._entries[place]
                weight += entry.weight
                if found and weight > most_weight:
                    break
                found.append(entry)
            return Taken(tuple(found), skipped, lost)


class _Reader:
    def __init__(self, log: MemoryLog, number: int) -> None:
        self._log = log
        self.number = number
        self._passed_weight = log._weight_before(number)

    def take(self, most_weight: int) -> Taken:
        taken = self._log._after(self.number, self._passed_weight, most_weight)
        self.number += taken.skipped_entries + len(taken.entries)
        self._passed_weight += taken.skipped_weight + sum(entry.weight for entry in taken.entries)
        return taken

    def close(self) -> None:
        """Nothing is held."""
