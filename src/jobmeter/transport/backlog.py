"""What a node has measured and no gatherer has taken yet: in memory first, on disk when it gets much or old.

A queue in the order of measuring: what is on disk is older than what is in memory. What was handed out for sending
stays until it is `done`. The memory has a bound, and the disk; what goes over is dropped, oldest first, and counted.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from jobmeter.deliver.complaints import Complaints
from jobmeter.deliver.journal import Journal
from jobmeter.deliver.log import Reader

log = logging.getLogger("jobmeter.transport")


class Waiting(Struct, frozen=True):
    """One message. `key` names it in answers; `number` is its entry on disk, 0 in memory."""

    key: tuple[int, int]
    weight: int
    message: bytes
    since: float
    number: int = 0


class Bounds(Struct, frozen=True):
    """How much may wait in memory and for how long, before the disk is used; and how much on disk."""

    memory_bytes: int = 4 * 2**20
    memory_seconds: float = 10.0
    disk_bytes: int = 2**28


class Backlog:
    """See above. `folder` None: there is no disk. `key_of` finds the key of a message read from disk."""

    def __init__(
        self,
        folder: Path | None,
        bounds: Bounds,
        key_of: Callable[[bytes], tuple[int, int]],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.dropped = 0
        self._bounds = bounds
        self._key_of = key_of
        self._monotonic = monotonic
        self._memory: deque[Waiting] = deque()
        self._memory_bytes = 0
        self._out: OrderedDict[tuple[int, int], Waiting] = OrderedDict()
        self._complaints = Complaints(log)
        self._folder = folder
        self._journal = None if folder is None else Journal(folder, bounds.disk_bytes)
        self._reader: Reader | None = None
        self._ready: deque[Waiting] = deque()
        self._read_to = 1
        if self._journal is not None:
            self._read_to = _cursor(folder)
            self._reader = self._journal.reader(self._read_to)

    @property
    def out(self) -> int:
        """How many messages were handed out and are not done."""
        return len(self._out)

    @property
    def waiting(self) -> int:
        """How many messages are held in all."""
        on_disk = 0 if self._journal is None else max(0, self._journal.next_number - self._oldest_on_disk())
        return on_disk + len(self._memory) + sum(not each.number for each in self._out.values())

    @property
    def disk_bytes(self) -> int:
        """How many bytes the disk holds."""
        return 0 if self._journal is None else self._journal.size_bytes

    def append(self, key: tuple[int, int], weight: int, message: bytes) -> None:
        """Add what was measured last."""
        self._memory.append(Waiting(key, weight, message, self._monotonic()))
        self._memory_bytes += len(message)
        self.settle()

    def settle(self) -> None:
        """Keep the bounds: to disk with what is too much or too old for memory, or away with it."""
        if self._memory_is_full() and self._journal is not None:
            self._spill()
        while self._memory_bytes > self._bounds.memory_bytes and (len(self._memory) + len(self._out)) > 1:
            self._drop_oldest()

    def next(self) -> Waiting | None:
        """The oldest message that was not handed out, or None."""
        found = self._next_on_disk() or (self._memory.popleft() if self._memory else None)
        if found is not None:
            self._out[found.key] = found
        return found

    def weight_of(self, key: tuple[int, int]) -> int:
        """How many samples are in a message that is out; 0 when it is not."""
        found = self._out.get(key)
        return 0 if found is None else found.weight

    def done(self, key: tuple[int, int]) -> bool:
        """This message needs not be kept. False when it was not out."""
        found = self._out.pop(key, None)
        if found is None:
            return False
        if not found.number:
            self._memory_bytes -= len(found.message)
        elif self._journal is not None:
            self._journal.forget(self._oldest_on_disk())
        return True

    def rewind(self) -> None:
        """Hand out again what is not done."""
        in_memory = [each for each in self._out.values() if not each.number]
        oldest = self._oldest_on_disk()
        self._out.clear()
        self._memory.extendleft(reversed(in_memory))
        if self._journal is not None and self._reader is not None:
            self._reader.close()
            self._ready.clear()
            self._reader = self._journal.reader(oldest)
            self._read_to = oldest

    def save(self) -> None:
        """Write down how far the disk is done with. A crash before costs repeats only."""
        if self._folder is None or self._journal is None:
            return
        fresh = self._folder / "cursor.fresh"
        try:
            fresh.write_text(f"{self._oldest_on_disk()}\n", encoding="ascii")
            fresh.replace(self._folder / "cursor")
        except OSError as fault:
            self._complaints.tell("node.cursor_not_written", str(fault))

    def close(self) -> None:
        """Put what is in memory on disk, if there is one, and release. What has no place is counted as dropped."""
        if self._journal is not None:
            self._spill()
            self.save()
            if self._reader is not None:
                self._reader.close()
            self._journal.close()
        lost = sum(each.weight for each in (*self._memory, *(each for each in self._out.values() if not each.number)))
        if lost:
            self.dropped += lost
            log.warning("node.lost_at_end samples=%d", lost)

    def _memory_is_full(self) -> bool:
        oldest = next((each for each in self._out.values() if not each.number), None)
        if oldest is None:
            oldest = self._memory[0] if self._memory else None
        if oldest is None:
            return False
        too_old = self._monotonic() - oldest.since > self._bounds.memory_seconds
        return self._memory_bytes > self._bounds.memory_bytes or too_old

    def _spill(self) -> None:
        """All that is in memory goes to disk, in its order; on a full disk what is left stays in memory."""
        assert self._journal is not None  # noqa: S101 - asked by those who know
        self.rewind()
        try:
            while self._memory:
                each = self._memory[0]
                self._journal.append(each.message, each.weight)
                self._memory.popleft()
                self._memory_bytes -= len(each.message)
            self._journal.sync()
        except OSError as fault:
            self._complaints.tell("node.spool_unwritable", str(fault))

    def _drop_oldest(self) -> None:
        if self._memory:
            gone = self._memory.popleft()
        else:
            key = next((key for key, each in self._out.items() if not each.number), None)
            if key is None:
                return
            gone = self._out.pop(key)
        self._memory_bytes -= len(gone.message)
        self.dropped += gone.weight
        self._complaints.tell("node.dropped", "too much waits for the gatherer: the oldest goes")

    def _next_on_disk(self) -> Waiting | None:
        if self._reader is None:
            return None
        if not self._ready:
            taken = self._reader.take(1)
            self.dropped += taken.skipped_weight
            number = self._reader.number - len(taken.entries)
            now = self._monotonic()
            for place, entry in enumerate(taken.entries):
                key = self._key_of(entry.body)
                self._ready.append(Waiting(key, entry.weight, entry.body, now, number + place))
        if not self._ready:
            return None
        found = self._ready.popleft()
        self._read_to = found.number + 1
        return found

    def _oldest_on_disk(self) -> int:
        return next((each.number for each in self._out.values() if each.number), self._read_to)


def _cursor(folder: Path | None) -> int:
    try:
        return 1 if folder is None else int((folder / "cursor").read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        return 1
