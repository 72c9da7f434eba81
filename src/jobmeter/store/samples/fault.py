"""What can be wrong with a sample store."""

from __future__ import annotations

from pathlib import Path


class Damaged(Exception):  # noqa: N818 - the name says the fact
    """A piece of a file does not agree with its checksum or its form; the message says where. `path` is the file."""

    def __init__(self, reason: str, path: Path | None = None) -> None:
        super().__init__(reason)
        self.path = path


class StoreTaken(Exception):  # noqa: N818
    """Another process writes this store already. Reading it is possible at any time."""
