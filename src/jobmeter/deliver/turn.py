"""Whose turn it is to deliver a spool: a lock on a file beside it, released by the kernel when its holder ends.

Several may deliver one spool without harm. The lock only keeps the many short-lived processes that announce jobs from
starting as many deliveries.
"""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from jobmeter.deliver.lockfile import alone, opened


class Turn:
    """The turns of one spool."""

    def __init__(self, spool: Path) -> None:
        self._file = spool.with_name(spool.name + ".turn")

    def taken(self) -> AbstractContextManager[bool]:
        """Whether nobody else delivers; then the turn is ours within. Raises OSError when the file cannot be made."""
        return alone(self._file)

    def is_free(self) -> bool:
        """Whether nobody delivers at this moment. Raises OSError."""
        with self.taken() as ours:
            return ours

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Somebody delivers within: as soon as a short delivery that is under way has ended, none begins."""
        descriptor = opened(self._file)
        # In a thread, because the end of the other delivery may take a while and nothing here depends on it.
        threading.Thread(target=_hold, args=(descriptor,), name="turn", daemon=True).start()
        try:
            yield
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)


def _hold(descriptor: int) -> None:
    fcntl.flock(descriptor, fcntl.LOCK_SH)
