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
        try:
            for body in rows:
                self._first.append(body)
                break
            else:
                self._finish(complete=True)
        except BaseException:
            self._finish(complete=False)
            raise

    def __next__(self) -> bytes:
        bodies, self._first = self._first, []
        size_bytes = sum(map(len, bodies))
        if self._release is not None:
            try:
                for body in self._rows:
                    bodies.append(body)
                    size_bytes += len(body)
                    if size_bytes >= CHUNK_BYTES:
                        break
                else:
                    self._finish(complete=True)
            except BaseException:
                self._finish(complete=False)
                raise
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

    def _finish(self, *, complete: bool) -> None:
        release, self._release = self._release, None
        if release is not None:
            release(complete)
