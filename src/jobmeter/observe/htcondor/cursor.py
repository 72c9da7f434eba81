"""Where reading goes on: for each schedd the newest jobs of its history that were read.

A schedd appends a job to its history when the job leaves the queue, which may be days after it completed. So neither
times nor job numbers rise along the file, and only a place in it tells what is new. The place is named by jobs: all
that stands after them has not been read. They are several, so that one which the schedd wrote twice (it may, when it
crashes) shows by the others' being missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec
from msgspec import Struct

PLACES_MAX = 4
"""How many jobs name a place."""


class CursorUnreadable(ValueError):  # noqa: N818 - the name says the fact
    """The text is not a cursor of this source."""


class Place(Struct, frozen=True):
    """All of a history up to `newest` was read; jobs that ended before `first` are never taken.

    `newest` holds global ids, the newest first, or one `CLUSTER.PROC` (or `CLUSTER`) that somebody else named.
    """

    first: datetime
    newest: tuple[str, ...] = ()

    def moved(self, read: Sequence[str]) -> Place:
        """The place after `read`, global ids with the newest first, was read."""
        return Place(self.first, tuple(dict.fromkeys((*read, *self.newest)))[:PLACES_MAX])


class Cursor(Struct, frozen=True):
    """The place in the history of each schedd, or of the history file under its path."""

    places: dict[str, Place]
    version: int = 1

    def text(self) -> str:
        """The cursor as it is kept."""
        return msgspec.json.encode(self).decode()

    def at(self, name: str, place: Place) -> Cursor:
        """The cursor with one place changed."""
        return Cursor({**self.places, name: place})


def cursor_of(text: str) -> Cursor:
    """The cursor that a text keeps. Raises CursorUnreadable."""
    try:
        cursor = msgspec.json.decode(text, type=Cursor)
    except (msgspec.MsgspecError, UnicodeError) as fault:
        raise CursorUnreadable(f"the cursor cannot be read: {fault}") from None
    if cursor.version != 1 or any(place.first.tzinfo is None for place in cursor.places.values()):
        raise CursorUnreadable("the cursor is of a later version, or damaged")
    return cursor


def until(name: str) -> str:
    """The ClassAd expression that holds for the job of this name: condor_history reads until it meets it."""
    if "#" in name:
        return f'GlobalJobId == "{name}"'
    cluster, _, process = name.partition(".")
    return f"ClusterId == {int(cluster)}" + (f" && ProcId == {int(process)}" if process else "")


def nameable(global_id: str) -> bool:
    """Whether a global id can stand within an expression as it is."""
    return '"' not in global_id and "\\" not in global_id
