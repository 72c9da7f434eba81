"""What the batch section asks of a batch system."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from jobmeter.observe.queues.job import QueuedJob


class Queued(Struct, frozen=True):
    """All jobs of the queue in its order, and what made no sense, as sentences.

    Of the queues in `untold` it is not known which jobs are theirs.
    """

    jobs: Sequence[QueuedJob]
    odd: tuple[str, ...] = ()
    untold: frozenset[str] = frozenset()


class Finished(Struct, frozen=True):
    """Jobs that finished since the cursor, the newest first, and the cursor after them."""

    jobs: Sequence[QueuedJob]
    cursor: str
    odd: tuple[str, ...] = ()


class BatchSystem(Protocol):
    """A batch system. Both raise SourceUnreadable."""

    def queued(self) -> Queued:
        """The jobs in the queue now."""
        ...

    def finished(self, cursor: str | None) -> Finished:
        """The jobs that finished since; those of the last minutes when there is no cursor."""
        ...
