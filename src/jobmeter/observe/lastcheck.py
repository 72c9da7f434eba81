"""The state database of AUDITOR's collectors for Slurm and Kubernetes: where that collector had come to.

One table holds a moment, another what was queued and not sent: bincode, which need not be decoded. A record's stop time
is the last RFC 3339 text in it, and the batch system is simply asked again from the earliest one on.
The file is read and never written.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from jobmeter.wire.auditor import parse_time

_TIME = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")


class StateUnreadable(Exception):  # noqa: N818 - the name says the fact
    """There is a file of an AUDITOR collector and it cannot be read; the message says why."""


def resume_from(
    file: Path, checks: tuple[str, str] = ("lastcheck", "lastcheck"), queue: tuple[str, str] = ("records", "record")
) -> datetime | None:
    """The moment from which jobs must be collected after AUDITOR's collector, None where it never ran.

    `checks` and `queue` are table and column of the moment and of what was queued; the defaults are the Slurm
    collector's.
    Raises StateUnreadable.
    """
    if not file.is_file():
        return None
    try:
        with _opened(file) as db:
            times = [parse_time(str(value)) for value in _column(db, *checks)]
            queued = [stop for blob in _column(db, *queue) if (stop := _stop_time(blob)) is not None]
    except (sqlite3.Error, ValueError) as fault:
        raise StateUnreadable(f"{file} is no state of an AUDITOR collector that can be read: {fault}") from None
    if not times:
        return min(queued, default=None)
    return min(*times, *queued, max(times))


@contextmanager
def _opened(file: Path) -> Iterator[sqlite3.Connection]:
    name = quote(str(file.resolve()))
    try:
        db = sqlite3.connect(f"file:{name}?mode=ro", uri=True)
        db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        # A file in WAL mode in a folder that we may not write to: nobody else writes it, so it can be read as it is.
        db = sqlite3.connect(f"file:{name}?immutable=1", uri=True)
    with closing(db):
        yield db


def _column(db: sqlite3.Connection, table: str, column: str) -> list[object]:
    if db.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)).fetchone() is None:
        return []
    return [row[0] for row in db.execute(f"SELECT {column} FROM {table}")]  # noqa: S608 - both names stand above


def _stop_time(blob: object) -> datetime | None:
    raw = blob if isinstance(blob, bytes) else str(blob).encode()
    found = _TIME.findall(raw)
    return parse_time(found[-1].decode()) if found else None
