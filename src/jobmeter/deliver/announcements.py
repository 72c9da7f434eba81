"""Jobs that were announced and are not in the spool yet: a file each, in a folder beside it.

A batch system announces a job once. So the announcement is kept before anything is done that may fail or take time, and
goes when the spool holds what became of the job. It is a file, because a thousand may come at once, and because it can
be written when the spool cannot.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import Struct

_SUFFIX = ".json"


class _Content(Struct, frozen=True):
    announced: datetime
    variables: dict[str, str]
    version: int = 1


class Announcement(Struct, frozen=True):
    """A job that is not in the spool yet: the variables that name it, and when it was announced.

    `hold` is the open file by which the process that was called for the job tells others that it is at work on it.
    """

    file: Path
    announced: datetime
    variables: dict[str, str]
    hold: int | None = None


class Announcements:
    """The announcements of one spool. Methods raise OSError."""

    def __init__(self, spool: Path) -> None:
        self.folder = spool.with_name(spool.name + ".jobs")

    def add(self, name: str, variables: Mapping[str, str], now: datetime) -> Announcement:
        """Keep an announcement, durable on return. `name` becomes part of its file's name; it may be anything.

        Nobody else finds it among the pending ones until it is let go, or this process has ended.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        plain = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in name)[:40]
        unique = f"{int(now.timestamp() * 1_000_000):020}-{os.getpid()}-{plain}"
        file = self.folder / f"{unique}{_SUFFIX}"
        fresh = self.folder / f"{unique}.new"
        content = msgspec.json.encode(_Content(now, {key: _text(value) for key, value in variables.items()}))
        with fresh.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
            hold = os.dup(stream.fileno())
        fcntl.flock(hold, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fresh.rename(file)
        return Announcement(file, now, dict(variables), hold)

    def let_go(self, announcement: Announcement) -> None:
        """This process does nothing more for it. A process that is forked before would hold it, too."""
        if announcement.hold is not None:
            os.close(announcement.hold)

    def pending(self) -> list[Announcement]:
        """Those that nobody is at work on, the newest first. What is none, or a part of one, is passed over."""
        try:
            files = sorted((file for file in self.folder.iterdir() if file.suffix == _SUFFIX), reverse=True)
        except FileNotFoundError:
            return []
        found = (_announcement(file) for file in files)
        return [announcement for announcement in found if announcement is not None]

    def remove(self, announcement: Announcement) -> None:
        """The spool holds what became of the job."""
        announcement.file.unlink(missing_ok=True)


def _announcement(file: Path) -> Announcement | None:
    try:
        with file.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
            content = msgspec.json.decode(stream.read(), type=_Content)
    except (FileNotFoundError, BlockingIOError, msgspec.MsgspecError, UnicodeError):
        return None
    return Announcement(file, content.announced, content.variables) if content.announced.tzinfo is not None else None


def _text(value: str) -> str:
    # The environment may hold bytes that are no text; they come as lone surrogates, which JSON cannot carry.
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
