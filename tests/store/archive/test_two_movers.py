"""Two programs that archive one PostgreSQL database: one at a time does, and if ever two do nothing is doubled."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from jobmeter.model.question import Question
from jobmeter.store.archive.moving import Plan, archive_old
from jobmeter.store.archive.shelf import ArchiveBusy
from jobmeter.store.open import open_store
from jobmeter.wire.auditor import encode_record
from tests.given import ALL, lines
from tests.store.archive.material import NOW, archived, at, job

RECORDS = [job(f"r{number}", at(-40 + number)) for number in range(50)]
_HOLDERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted AND database = ("
    "SELECT oid FROM pg_database WHERE datname = current_database())"
)


def test_who_lost_the_right_to_archive_in_the_middle_archives_nothing_twice(
    postgresql_url: str, tmp_path: Path
) -> None:
    first, second = open_store(postgresql_url), open_store(postgresql_url)
    first.put(RECORDS)
    plan = Plan(tmp_path / "first", 1, file_records=20)
    others: list[int] = []

    def lose_the_right(step: str) -> None:
        if step == "named" and not others:
            with pytest.raises(ArchiveBusy), second.shelf():
                pass
            with psycopg.connect(postgresql_url, autocommit=True) as connection:
                connection.execute(_HOLDERS)
            others.extend(moved.records for moved in archived(second, tmp_path / "second", file_records=20))

    try:
        with first.shelf() as shelf:
            assert list(archive_old(shelf, plan, NOW, lose_the_right)) == []
        assert sum(others) == len(RECORDS)
        assert [*(tmp_path / "first").iterdir()] == []
        for store in (first, second):
            assert lines(store, Question(ALL)) == [encode_record(record) for record in RECORDS]
            assert sum(file.records for file in store.archived_files()) == len(RECORDS)
            assert store.check_rollups() == []
    finally:
        first.close()
        second.close()
