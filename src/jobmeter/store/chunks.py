"""Records on their way out: many bodies in one piece of bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

CHUNK_BYTES = 128 * 1024


class Chunks(Iterator[bytes]):
    """Joins the bodies that `rows` yields to newline-terminated chunks of about 128 KiB.

    The first body is read at once, so what the database refuses is raised here and not in the middle of an answer.
    `release` is called exactly once: with True after the last body, with False after a fault or an early `close`.
    Only one thread may use it at a time.
    """

    def __init__(self, rows: Iterator[bytes], release: Callable[[bool], None]) -> None:
        self._rows = rows
        self._release: Callable[[bool], None] | None = release
        self._first: list[bytes] = []
        self._first = self._read(1)

    def __next__(self) -> bytes:
        bodies, self._first = self._first, []
        bodies += self._read(CHUNK_BYTES - sum(map(len, bodies)))
        if not bodies:
            raise StopIteration
        bodies.append(b"")
        return b"\n".join(bodies)

    def close(self) -> None:
        """Stop early and give the connection back; harmless when all has been read."""
        self._first = []
        self._finish(complete=False)

    def __del__(self) -> None:
        self.close()

    def _read(self, wanted_bytes: int) -> list[bytes]:
        """The next bodies, until they are `wanted_bytes` or there are no more."""
        bodies: list[bytes] = []
        try:
            while wanted_bytes > 0 and self._release is not None:
                body = next(self._rows, None)
                if body is None:
                    self._finish(complete=True)
                else:
                    bodies.append(body)
                    wanted_bytes -= len(body)
        except BaseException:
            self._finish(complete=False)
            raise
        return bodies

    def _finish(self, *, complete: bool) -> None:
        release, self._release = self._release, None
        if release is not None:
            release(complete)
