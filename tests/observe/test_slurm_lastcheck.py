from __future__ import annotations

import sqlite3
import struct
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from jobmeter.observe.batch.slurm import Settings
from jobmeter.observe.lastcheck import StateUnreadable, resume_from
from tests.observe.slurm_tables import calls, source, write_table


def bincode(*texts: str) -> bytes:
    """Texts as bincode 1 writes them: a 64-bit length and the bytes."""
    return b"".join(struct.pack("<Q", len(text)) + text.encode() for text in texts)


def state(path: Path, lastcheck: str | None, *records: bytes) -> Path:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE records (id TEXT PRIMARY KEY, record BLOB)")
        db.execute("CREATE TABLE lastcheck (lastcheck DATETIME PRIMARY KEY, jobid TEXT)")
        if lastcheck is not None:
            db.execute("INSERT INTO lastcheck VALUES (?, 'slurm-1')", (lastcheck,))
        db.executemany("INSERT INTO records VALUES (?, ?)", [(str(n), blob) for n, blob in enumerate(records)])
    return path


@pytest.mark.parametrize("text", ["2026-11-20 10:00:00 +02:00", "2026-11-20T10:00:00+02:00", "2026-11-20T08:00:00Z"])
def test_reading_goes_on_from_the_last_check(tmp_path: Path, text: str) -> None:
    assert resume_from(state(tmp_path / "testdb.db", text)) == datetime(2026, 11, 20, 8, tzinfo=UTC)


def test_queued_records_are_read_again_from_their_stop_times(tmp_path: Path) -> None:
    record = (
        bincode("slurm-7", "comment 1999-01-01T00:00:00Z", "2026-11-19T01:00:00Z", "2026-11-19T02:30:00Z") + b"\0\1"
    )
    file = state(tmp_path / "testdb.db", "2026-11-20T08:00:00Z", record)
    assert resume_from(file) == datetime(2026, 11, 19, 2, 30, tzinfo=UTC)
    assert resume_from(state(tmp_path / "other.db", None, record)) == datetime(2026, 11, 19, 2, 30, tzinfo=UTC)


def test_without_a_state_there_is_nothing_to_take_over(tmp_path: Path) -> None:
    assert resume_from(tmp_path / "none.db") is None
    assert resume_from(state(tmp_path / "empty.db", None)) is None
    sqlite3.connect(tmp_path / "foreign.db").close()
    assert resume_from(tmp_path / "foreign.db") is None


def test_a_file_that_is_no_database_is_said(tmp_path: Path) -> None:
    (tmp_path / "testdb.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(StateUnreadable, match=r"testdb\.db"):
        resume_from(tmp_path / "testdb.db")


def test_the_file_is_left_as_it_is(tmp_path: Path) -> None:
    file = state(tmp_path / "testdb.db", "2026-11-20T08:00:00Z")
    before = file.read_bytes()
    resume_from(file)
    assert file.read_bytes() == before


def test_the_source_begins_an_overlap_before_the_last_check(tmp_path: Path) -> None:
    file = state(tmp_path / "testdb.db", "2026-11-21T10:00:00Z")
    sacct = write_table(tmp_path / "slurm", [])
    list(source(Settings(sacct_path=str(sacct), database_path=f"sqlite://{file}")).read(None))
    [argv] = [argv for argv, _ in calls(tmp_path / "slurm") if "-S" in argv]
    assert argv[argv.index("-S") + 1] == "2026-11-21T09:00:00"
