"""What was queued before, so that reading an overlapping time again queues only what is new or changed."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from enum import IntEnum

from jobmeter.deliver.tally import Age, set_state

_DAY_SECONDS = 86_400


class Kind(IntEnum):
    """What a name in the memory means."""

    RECORD = 0
    """A record, by its id; the digest is of its encoded form."""
    REFUSED = 1
    """An entry that a source refused, by the digest of its text."""
    DOCUMENT = 2
    """A document that is told once, by its identity."""


class Memory:
    """The table of what was seen, each row for `keep_seconds` of the spool's age after it was last collected."""

    def __init__(self, keep_seconds: int) -> None:
        self._keep_seconds = keep_seconds

    def unseen(  # noqa: PLR0913 - what is asked, and where
        self,
        db: sqlite3.Connection,
        source: str,
        kind: Kind,
        items: Sequence[tuple[str, bytes]],
        age: Age,
        *,
        first_counts: bool = False,
    ) -> list[int]:
        """The places in `items` (name, digest) of those that are new or whose digest changed; they are seen now.

        With `first_counts` a changed digest is passed over, and the first one stays.
        """
        # A repeat is written down again only when it nears its end: a stable overlap costs no writes.
        fading = age.seconds - self._keep_seconds // 2
        known: dict[str, bytes] = {}
        rows: list[tuple[str, int, str, bytes, int]] = []
        fresh: list[int] = []
        for place, (name, offered) in enumerate(items):
            before, since = _lookup(db, source, kind, name) if name not in known else (known[name], age.seconds)
            digest = before if first_counts and before is not None else offered
            if before != digest:
                fresh.append(place)
            known[name] = digest
            if before != digest or since <= fading:
                rows.append((source, int(kind), name, digest, age.seconds))
        db.executemany(
            "INSERT INTO seen (source, kind, name, digest, age) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (source, kind, name) DO UPDATE SET digest = excluded.digest, age = excluded.age",
            rows,
        )
        return fresh

    def prune(self, db: sqlite3.Connection, age: Age) -> None:
        """Forget what is too old. Looks at the table once a day of the spool's age, as that reads all of it."""
        row = db.execute("SELECT value FROM state WHERE name = 'pruned_age'").fetchone()
        if row is None or age.seconds - row[0] >= _DAY_SECONDS:
            db.execute("DELETE FROM seen WHERE age < ?", (age.seconds - self._keep_seconds,))
            set_state(db, "pruned_age", age.seconds)


def _lookup(db: sqlite3.Connection, source: str, kind: Kind, name: str) -> tuple[bytes | None, int]:
    row: tuple[bytes, int] | None = db.execute(
        "SELECT digest, age FROM seen WHERE source = ? AND kind = ? AND name = ?", (source, int(kind), name)
    ).fetchone()
    return (None, 0) if row is None else row
