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
        self._dropped_weight = 0
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
                self._dropped_weight += self._popped().weight
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

    def _popped(self) -> Logged:
        entry = self._entries.popleft()
        self._size_bytes -= len(entry.body)
        return entry

    def _after(self, number: int, seen_dropped: int, most_weight: int) -> tuple[Taken, int]:
        with self._changed:
            first = self._entries[0].number if self._entries else self._next
            skipped = max(0, first - number)
            lost = self._dropped_weight - seen_dropped if skipped else 0
            found: list[Logged] = []
            weight = 0
            for place in range(max(0, number - first), len(self._entries)):
                entry = self._entries[place]
                weight += entry.weight
                if found and weight > most_weight:
                    break
                found.append(entry)
            return Taken(tuple(found), skipped, lost), self._dropped_weight


class _Reader:
    def __init__(self, log: MemoryLog, number: int) -> None:
        self._log = log
        self.number = number
        self._seen_dropped = log._dropped_weight

    def take(self, most_weight: int) -> Taken:
        taken, self._seen_dropped = self._log._after(self.number, self._seen_dropped, most_weight)
        self.number += taken.skipped_entries + len(taken.entries)
        return taken

    def close(self) -> None:
        """Nothing is held."""
