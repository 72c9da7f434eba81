"""What a queue of messages between a receiver and several readers offers, whether on disk or in memory."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct


class Logged(Struct, frozen=True):
    """A message in a log: entries are numbered from 1 without gaps. `weight` is the number of samples in it."""

    number: int
    weight: int
    body: bytes


class Taken(Struct, frozen=True):
    """What a reader got next, and what it will never get because it was dropped or damaged since its last look."""

    entries: tuple[Logged, ...] = ()
    skipped_entries: int = 0
    skipped_weight: int = 0


class Reader(Protocol):
    """A place in a log, moved by reading. One thread uses it."""

    @property
    def number(self) -> int:
        """The number of the entry that comes next."""
        ...

    def take(self, most_weight: int) -> Taken:
        """The next entries, at least one when there is any, together of at most that weight where several are given."""
        ...

    def close(self) -> None:
        """Release the place."""
        ...


class Log(Protocol):
    """An append-only queue with a bound, read at several places at once. Safe to call from several threads."""

    durable: bool
    """Whether what was synced outlives the process."""

    @property
    def next_number(self) -> int:
        """The number that the next entry will get."""
        ...

    @property
    def size_bytes(self) -> int:
        """How many bytes are held."""
        ...

    def append(self, body: bytes, weight: int) -> int:
        """Add an entry and give its number. Raises OSError when there is no room for it; then nothing was added."""
        ...

    def sync(self) -> None:
        """Make what was appended durable. Raises OSError."""
        ...

    def reader(self, number: int) -> Reader:
        """A place before the entry of that number, or before the oldest one that is still there."""
        ...

    def forget(self, before: int) -> None:
        """Entries below that number are wanted by nobody any more."""
        ...

    def wait(self, number: int, seconds: float) -> bool:
        """Whether there is an entry of that number, waiting for it at most so long."""
        ...

    def wake(self) -> None:
        """Let everybody who waits look again."""
        ...

    def close(self) -> None:
        """Sync and release. Called once."""
        ...
