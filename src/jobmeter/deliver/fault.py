"""What can be wrong with a spool, one class per cause. All carry the path of the file."""

from __future__ import annotations

from pathlib import Path


class SpoolFault(Exception):  # noqa: N818 - a fault of the spool, by its name
    """The spool could not do what was asked; nothing of it was done. `path` is the spool's file."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"spool {path}: {reason}")
        self.path = path
        self.reason = reason


class SpoolUnavailable(SpoolFault):
    """The spool cannot be read or written now (locked too long, an I/O error, no permission). Ask again later."""


class SpoolFull(SpoolUnavailable):
    """There is no room: the disk or the spool's own bound is reached. Collect no more until some was delivered."""


class SpoolCorrupt(SpoolFault):
    """The file is damaged or is no spool. It is left as it is, for someone to look at."""


class SpoolTooNew(SpoolFault):
    """The file was written by a newer version, whose entries this version does not know."""
