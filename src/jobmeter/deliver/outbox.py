"""The outbox: what is to be published under a key, in one SQLite file, with the history of what was.

A consignment is what one report says under one key (a site's month, for example), in one or several parcels. A newer
consignment takes the place of what still waits under its key; what the receiver has accepted stays in the history with
its digest, time and receipt. The pump delivers parcels as it delivers the entries of a spool.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from enum import Enum
from pathlib import Path

import msgspec
from msgspec import Struct

from jobmeter.contract import Clock
from jobmeter.deliver.queue import Entry
from jobmeter.deliver.spoolfile import translated
from jobmeter.model.outcome import Accepted, Outcome, Rejected
from jobmeter.model.record import from_microseconds, microseconds

FORMAT = "report/1"
LEASE_SECONDS = 300

Key = tuple[str, ...]

_TABLES = """
CREATE TABLE IF NOT EXISTS consignments (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL,
    digest TEXT NOT NULL,
    made_us INTEGER NOT NULL,
    about TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS consignments_key ON consignments (key, number);
CREATE TABLE IF NOT EXISTS parcels (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    consignment INTEGER NOT NULL REFERENCES consignments,
    part INTEGER NOT NULL,
    body BLOB NOT NULL,
    digest TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    due_us INTEGER NOT NULL,
    settled_us INTEGER,
    receipt TEXT NOT NULL,
    reason TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS parcels_due ON parcels (state, due_us, number);
CREATE INDEX IF NOT EXISTS parcels_consignment ON parcels (consignment, part);
CREATE TABLE IF NOT EXISTS told (
    parcel INTEGER PRIMARY KEY,
    said TEXT NOT NULL
);
"""

_WHOLE = "NOT EXISTS (SELECT 1 FROM parcels WHERE consignment = c.number AND state <> 'accepted')"
_PUBLISHED = f"""SELECT p.body FROM parcels p JOIN consignments c ON c.number = p.consignment
    WHERE c.key = ? AND (p.state = 'accepted' OR (p.attempts > 0 AND p.state <> 'rejected'))
    AND c.number >= coalesce((SELECT max(c.number) FROM consignments c WHERE c.key = ? AND {_WHOLE}), 0)
    ORDER BY p.number"""  # noqa: S608 - constants
_SAID = "p.state || ' ' || coalesce(p.settled_us, '') || ' ' || p.reason || ' ' || c.about"
_HISTORY = f"""SELECT p.number, c.key, p.part, (SELECT count(*) FROM parcels WHERE consignment = c.number),
    p.digest, c.made_us, c.about, p.state, p.attempts, p.settled_us, p.receipt, p.reason,
    NOT EXISTS (SELECT 1 FROM consignments n WHERE n.key = c.key AND n.number > c.number), {_SAID}
    FROM parcels p JOIN consignments c ON c.number = p.consignment"""  # noqa: S608 - constants


class State(Enum):
    """What became of a parcel."""

    WAITING = "waiting"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    SUPERSEDED = "superseded"
    """A newer consignment took its place before it was delivered."""


class Parcel(Struct, frozen=True):
    """A parcel in the history: `digest` is the SHA-256 of its body, `about` what the report counted in all parts.

    `is_newest` tells whether nothing was put under its key after it, `said` changes with all of this that can change.
    """

    number: int
    key: Key
    part: int
    parts: int
    digest: str
    made: datetime
    about: dict[str, int]
    state: State
    attempts: int
    settled: datetime | None
    receipt: str
    reason: str
    is_newest: bool
    said: str = ""


class Outbox:
    """The outbox in the file `path`, which is made when there is none. Every method is one transaction.

    Every method raises SpoolUnavailable when the file cannot be used now, its subclass SpoolFull when there is no room,
    and SpoolCorrupt when it is damaged.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._lock = threading.RLock()
        with translated(path):
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(_TABLES)

    def close(self) -> None:
        """Release the file."""
        with self._lock, translated(self._path):
            self._db.close()

    def __enter__(self) -> Outbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def put(self, key: Key, bodies: Sequence[bytes], about: Mapping[str, int], *, again: bool = False) -> bool:
        """Publish `bodies` under `key`. False when the newest consignment says the same, unless it is to be said again.

        What still waits under the key is superseded. No bodies: nothing is to be published any more. What was counted
        is always the newest: jobs that are in no message may have come.
        """
        digest = _digest(*bodies)
        with self._transaction():
            counted = msgspec.json.encode(dict(about)).decode()
            if not again and self._newest(key) == digest:
                self._db.execute(
                    "UPDATE consignments SET about = ? WHERE number = (SELECT max(number) FROM consignments "
                    "WHERE key = ?)",
                    (counted, _text(key)),
                )
                return False
            self._db.execute(
                "UPDATE parcels SET state = 'superseded', settled_us = ? WHERE state = 'waiting' AND consignment IN "
                "(SELECT number FROM consignments WHERE key = ?)",
                (self._now(), _text(key)),
            )
            number = self._db.execute(
                "INSERT INTO consignments (key, digest, made_us, about) VALUES (?, ?, ?, ?)",
                (_text(key), digest, self._now(), counted),
            ).lastrowid
            self._db.executemany(
                "INSERT INTO parcels (consignment, part, body, digest, state, attempts, due_us, receipt, reason) "
                "VALUES (?, ?, ?, ?, 'waiting', 0, ?, '', '')",
                [(number, part, body, _digest(body), self._now()) for part, body in enumerate(bodies)],
            )
        return True

    def accepted(self, key: Key) -> dict[str, int] | None:
        """What the report counted in the newest consignment of which every parcel was accepted, None without one."""
        with self._transaction():
            row = self._db.execute(
                f"SELECT about FROM consignments c WHERE key = ? AND {_WHOLE} ORDER BY number DESC LIMIT 1",  # noqa: S608 - a constant
                (_text(key),),
            ).fetchone()
        return None if row is None else msgspec.json.decode(row[0], type=dict[str, int])

    def published(self, key: Key) -> list[bytes]:
        """What the receiver may hold under `key`, oldest first: the newest consignment that was accepted as a whole.

        And of those after it every parcel that was sent and not rejected, because an answer may have been lost.
        """
        with self._transaction():
            rows = self._db.execute(
                _PUBLISHED,
                (_text(key), _text(key)),
            ).fetchall()
        return [bytes(body) for (body,) in rows]

    def body(self, number: int) -> bytes:
        """The body of a parcel. Raises KeyError when there is none of this number."""
        with self._transaction():
            row = self._db.execute("SELECT body FROM parcels WHERE number = ?", (number,)).fetchone()
        if row is None:
            raise KeyError(number)
        return bytes(row[0])

    def due(self, limit: int) -> list[Entry]:
        """The next parcels to deliver, oldest first, taken for LEASE_SECONDS."""
        with self._transaction():
            now = self._now()
            rows = self._db.execute(
                "SELECT number, body, attempts FROM parcels WHERE state = 'waiting' AND due_us <= ? "
                "ORDER BY number LIMIT ?",
                (now, limit),
            ).fetchall()
            until = now + LEASE_SECONDS * 1_000_000
            self._db.executemany(
                "UPDATE parcels SET due_us = ?, attempts = attempts + 1 WHERE number = ?",
                [(until, row[0]) for row in rows],
            )
        return [Entry(number, "report", FORMAT, bytes(body), attempts) for number, body, attempts in rows]

    def settle(self, outcomes: Sequence[tuple[Entry, Outcome]]) -> None:
        """Write down what became of parcels. One that was accepted counts so, even if it was superseded meanwhile."""
        with self._transaction():
            now = self._now()
            for entry, outcome in outcomes:
                if isinstance(outcome, Accepted):
                    change, values = (
                        "state = 'accepted', settled_us = ?, receipt = ?, reason = ''",
                        (now, outcome.receipt),
                    )
                    which = ""
                elif isinstance(outcome, Rejected):
                    change, values = "state = 'rejected', settled_us = ?, reason = ?", (now, outcome.reason)
                    which = " AND state = 'waiting'"
                else:
                    due = now + round(outcome.delay_seconds * 1_000_000)
                    change, values = "due_us = ?, reason = ?", (due, outcome.reason)
                    which = " AND state = 'waiting'"
                self._db.execute(f"UPDATE parcels SET {change} WHERE number = ?{which}", (*values, entry.number))  # noqa: S608 - fixed texts

    def next_due_seconds(self) -> float | None:
        """Seconds until some parcel is due, 0 when one is, None when none waits."""
        with self._transaction():
            row = self._db.execute("SELECT min(due_us) FROM parcels WHERE state = 'waiting'").fetchone()
        return None if row[0] is None else max(0.0, (row[0] - self._now()) / 1_000_000)

    def retry(self, key: Key) -> int:
        """Let the rejected parcels of the newest consignment under `key` wait again; how many those were."""
        with self._transaction():
            return self._db.execute(
                "UPDATE parcels SET state = 'waiting', settled_us = NULL, reason = '', due_us = ? "
                "WHERE state = 'rejected' AND consignment = (SELECT max(number) FROM consignments WHERE key = ?)",
                (self._now(), _text(key)),
            ).rowcount

    def history(self, limit: int, key: Key | None = None) -> list[Parcel]:
        """The newest parcels, newest first; those under `key` when it is given."""
        named = (None if key is None else _text(key),) * 2
        return self._parcels("WHERE ? IS NULL OR c.key = ? ORDER BY p.number DESC LIMIT ?", (*named, limit))

    def rejected(self) -> list[Parcel]:
        """All parcels that were rejected, and that nothing newer took the place of."""
        return [parcel for parcel in self._parcels("WHERE p.state = 'rejected'", ()) if parcel.is_newest]

    def untold(self, limit: int) -> list[Parcel]:
        """The oldest parcels of which `tell` was not told what became of them since."""
        return self._parcels(
            f"LEFT JOIN told t ON t.parcel = p.number WHERE t.said IS NULL OR t.said <> {_SAID} "
            "ORDER BY p.number LIMIT ?",
            (limit,),
        )

    def tell(self, parcels: Sequence[Parcel]) -> None:
        """Write down that somebody was told of these, as they stand there."""
        with self._transaction():
            self._db.executemany(
                "INSERT OR REPLACE INTO told (parcel, said) VALUES (?, ?)", [(one.number, one.said) for one in parcels]
            )

    def _parcels(self, which: str, values: Sequence[object]) -> list[Parcel]:
        with self._transaction():
            rows = self._db.execute(f"{_HISTORY} {which}", values).fetchall()
        return [_parcel(row) for row in rows]

    def _newest(self, key: Key) -> str | None:
        row = self._db.execute(
            "SELECT digest FROM consignments WHERE key = ? ORDER BY number DESC LIMIT 1", (_text(key),)
        ).fetchone()
        return None if row is None else str(row[0])

    def _now(self) -> int:
        return microseconds(self._clock.now())

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock, translated(self._path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")


def _text(key: Key) -> str:
    """The key as it is stored: a JSON array, so that no part can run into another."""
    return msgspec.json.encode(key).decode()


def _digest(*bodies: bytes) -> str:
    whole = hashlib.sha256()
    for body in bodies:
        if len(bodies) > 1:
            whole.update(len(body).to_bytes(8, "big"))
        whole.update(body)
    return whole.hexdigest()


def _parcel(row: Sequence[object]) -> Parcel:
    number, key, part, parts, digest, made, about, state, attempts, settled, receipt, reason, is_newest, said = row
    return msgspec.convert(
        {
            "number": number,
            "key": msgspec.json.decode(str(key)),
            "part": part,
            "parts": parts,
            "digest": digest,
            "made": from_microseconds(int(str(made))),
            "about": msgspec.json.decode(str(about)),
            "state": state,
            "attempts": attempts,
            "settled": None if settled is None else from_microseconds(int(str(settled))),
            "receipt": receipt,
            "reason": reason,
            "is_newest": bool(is_newest),
            "said": said,
        },
        Parcel,
    )
