from __future__ import annotations

import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from jobmeter.deliver import spoolfile
from jobmeter.deliver.fault import SpoolCorrupt, SpoolTooNew, SpoolUnavailable
from jobmeter.deliver.settings import SpoolSettings
from jobmeter.deliver.spool import Spool
from tests.deliver.material import SetClock, batch


def open_spool(path: Path) -> Spool:
    return Spool(path, SpoolSettings(busy_seconds=0.1), SetClock())


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "spool.db"


def write(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for statement in statements:
            db.execute(statement)


def test_a_new_spool_is_readable_by_its_owner_only(path: Path) -> None:
    with open_spool(path) as spool:
        spool.absorb("s", batch("a"))
        for file in path.parent.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert [file.name for file in path.parent.iterdir()] == ["spool.db"]


def test_what_was_stored_is_there_when_opened_again(path: Path) -> None:
    with open_spool(path) as spool:
        spool.absorb("s", batch("a", cursor="x"))
    with open_spool(path) as spool:
        assert spool.cursor("s") == "x"
        assert spool.status().entries == 1


def test_every_commit_is_synced_to_the_disk(path: Path) -> None:
    with closing(spoolfile.open_file(path, 1)) as db:
        assert db.execute("PRAGMA synchronous").fetchone() == (2,)
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_an_old_spool_is_brought_up_to_date(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_spool(path) as spool:
        spool.absorb("s", batch("a", cursor="x"))
    later = (*spoolfile.MIGRATIONS, ("ALTER TABLE entries ADD COLUMN colour TEXT", "CREATE TABLE more (x)"))
    monkeypatch.setattr(spoolfile, "MIGRATIONS", later)
    with open_spool(path) as spool:
        assert spool.cursor("s") == "x"
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (len(later),)
        assert db.execute("SELECT colour FROM entries").fetchall() == [(None,)]


def test_a_migration_that_fails_leaves_the_spool_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_spool(path) as spool:
        spool.absorb("s", batch("a"))
    monkeypatch.setattr(spoolfile, "MIGRATIONS", (*spoolfile.MIGRATIONS, ("CREATE TABLE more (x)", "nonsense")))
    with pytest.raises(SpoolUnavailable):
        open_spool(path)
    monkeypatch.undo()
    with open_spool(path) as spool:
        assert spool.status().entries == 1


def test_a_spool_of_a_newer_version_is_refused_with_advice(path: Path) -> None:
    open_spool(path).close()
    write(path, "PRAGMA user_version = 99")
    with pytest.raises(SpoolTooNew, match=f"{path}: has format 99"):
        open_spool(path)


@pytest.mark.parametrize("content", [b"", b"not a database, but long enough to look at" * 10, b"\0" * 8192])
def test_a_file_that_is_no_spool_is_refused_and_left_as_it_is(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(SpoolCorrupt, match=str(path)) as caught:
        open_spool(path)
    assert "move the file" in str(caught.value)
    assert path.read_bytes() == content


def test_a_database_of_something_else_is_refused(path: Path) -> None:
    write(path, "CREATE TABLE records (x)")
    with pytest.raises(SpoolCorrupt, match="not a spool"):
        open_spool(path)


def test_a_spool_cut_short_is_told_apart_from_an_empty_one(path: Path) -> None:
    with open_spool(path) as spool:
        spool.absorb("s", batch(*(f"r{number}" for number in range(200))))
    path.write_bytes(path.read_bytes()[: 3 * 4096])
    with pytest.raises(SpoolCorrupt, match="damaged"), open_spool(path) as spool:
        spool.due(200)


def test_a_damaged_page_is_found_by_verify(path: Path) -> None:
    with open_spool(path) as spool:
        spool.absorb("s", batch(*(f"r{number}" for number in range(200))))
    content = bytearray(path.read_bytes())
    content[6 * 4096 : 20 * 4096] = b"\xaa" * (14 * 4096)
    path.write_bytes(content)
    with pytest.raises(SpoolCorrupt, match="damaged"), open_spool(path) as spool:
        spool.verify()


def test_a_sound_spool_passes_verify(path: Path) -> None:
    with open_spool(path) as spool:
        spool.absorb("s", batch("a"))
        spool.verify()


def test_a_spool_whose_file_was_deleted_but_not_its_log_is_not_made_anew(path: Path) -> None:
    with open_spool(path) as spool:
        spool.absorb("s", batch("a"))
        path.unlink()
        with pytest.raises(SpoolCorrupt, match="-wal is there"):
            open_spool(path)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpoolUnavailable, match="cannot be made"):
        open_spool(tmp_path / "nowhere" / "spool.db")


def test_a_spool_that_another_process_locks_is_unavailable_for_now(path: Path) -> None:
    with open_spool(path) as spool, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(SpoolUnavailable, match="locked"):
            spool.absorb("s", batch("a"))
        other.execute("ROLLBACK")
        assert spool.absorb("s", batch("a")).queued == 1


def test_a_spool_made_by_many_at_once_is_one_spool(path: Path) -> None:
    gate = threading.Barrier(8)
    made: list[int] = []

    def make(number: int) -> None:
        gate.wait()
        with Spool(path, SpoolSettings(), SetClock()) as spool:
            made.append(spool.absorb(f"source {number}", batch("a", cursor="x")).queued)

    threads = [threading.Thread(target=make, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [1] * 8
    with open_spool(path) as spool:
        assert len(spool.status().cursors) == 8
        assert spool.status().entries == 8
