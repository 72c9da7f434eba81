"""A few connections, lent to one user at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Condition
from time import monotonic
from typing import Generic, TypeVar

from jobmeter.contract import StoreUnavailable

C = TypeVar("C")


class Pool(Generic[C]):
    """At most `limit` connections made by `make`, kept open while idle. Threads may share it.

    `fit` tells whether an idle connection still works; one that does not is ended with `end` and replaced. Who waits
    longer than `wait_seconds` for a connection gets StoreUnavailable.
    """

    def __init__(
        self,
        make: Callable[[], C],
        end: Callable[[C], None],
        fit: Callable[[C], bool],
        *,
        limit: int,
        wait_seconds: float,
    ) -> None:
        self._make = make
        self._end = end
        self._fit = fit
        self._limit = limit
        self._wait_seconds = wait_seconds
        self._changed = Condition()
        self._idle: list[C] = []
        self._lent = 0
        self._closed = False

    def take(self) -> C:
        """A connection of one's own, to be returned with `give` or `drop`. Raises StoreUnavailable."""
        self._reserve()
        try:
            while (connection := self._pop()) is not None:
                if self._fit(connection):
                    return connection
                self._end(connection)
            return self._make()
        except BaseException:
            self._return(None)
            raise

    def give(self, connection: C) -> None:
        """Return a connection that works and has nothing open."""
        self._return(connection)

    def drop(self, connection: C) -> None:
        """Return a connection that is not to be used again."""
        try:
            self._end(connection)
        finally:
            self._return(None)

    @contextmanager
    def lend(self) -> Iterator[C]:
        """A connection for a while; after any fault within, it is ended instead of lent again."""
        connection = self.take()
        try:
            yield connection
        except BaseException:
            self.drop(connection)
            raise
        self.give(connection)

    def close(self) -> None:
        """End the idle connections now, and each lent one when it is returned."""
        with self._changed:
            self._closed = True
            idle, self._idle = self._idle, []
            self._changed.notify_all()
        for connection in idle:
            self._end(connection)

    def _reserve(self) -> None:
        deadline = monotonic() + self._wait_seconds
        with self._changed:
            while not self._closed and self._lent >= self._limit:
                if not self._changed.wait(deadline - monotonic()):
                    raise StoreUnavailable(f"all {self._limit} database connections are in use")
            if self._closed:
                raise StoreUnavailable("the store is closed")
            self._lent += 1

    def _pop(self) -> C | None:
        with self._changed:
            return self._idle.pop() if self._idle else None

    def _return(self, connection: C | None) -> None:
        with self._changed:
            self._lent -= 1
            kept = connection is not None and not self._closed
            if connection is not None and kept:
                self._idle.append(connection)
            self._changed.notify()
        if connection is not None and not kept:
            self._end(connection)
