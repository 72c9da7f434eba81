"""The state database of AUDITOR's HTCondor collector: which job of each schedd it had come to.

Its table `last_jobs` holds, per schedd and record prefix, the job that was processed last, in the order of the history.
The file is read and never written.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote


class StateUnreadable(Exception):  # noqa: N818 - the name says the fact
    """There is a file of AUDITOR's collector and it cannot be read; the message says why."""


def last_jobs(file: Path, prefix: str) -> dict[str, str]:
    """The last job, CLUSTER.PROC, by schedd; empty where AUDITOR's collector never ran. Raises StateUnreadable."""
    if not file.is_file() or file.stat().st_size == 0:
        return {}
    name = quote(str(file.resolve()))
    try:
        rows = _rows(f"file:{name}?mode=ro", prefix)
    except sqlite3.OperationalError:
        # A file in WAL mode in a folder that we may not write to: nobody else writes it, so it can be read as it is.
        try:
            rows = _rows(f"file:{name}?mode=ro&immutable=1", prefix)
        except sqlite3.Error as fault:
            raise StateUnreadable(f"{file} cannot be read as AUDITOR's state: {fault}") from None
    except sqlite3.Error as fault:
        raise StateUnreadable(f"{file} cannot be read as AUDITOR's state: {fault}") from None
    found = {}
    for schedd, cluster, process in rows:
        if not isinstance(schedd, str) or not isinstance(cluster, int) or not isinstance(process, int):
            raise StateUnreadable(f"{file} holds no job: {schedd!r}, {cluster!r}, {process!r}")
        found[schedd] = f"{cluster}.{process}"
    return found


def _rows(uri: str, prefix: str) -> list[tuple[object, object, object]]:
    with closing(sqlite3.connect(uri, uri=True)) as db:
        if db.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'last_jobs'").fetchone() is None:
            return []
        return db.execute("SELECT schedd, cluster, proc FROM last_jobs WHERE prefix = ?", (prefix,)).fetchall()
