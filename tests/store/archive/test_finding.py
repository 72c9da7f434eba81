"""One archived record is found, and files that cannot hold an answer are left closed."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobmeter.contract import StoreUnavailable
from jobmeter.model.outcome import Stored
from jobmeter.model.question import MetaCondition, Question
from jobmeter.store.open import ArchivingStore
from jobmeter.store.row import record_of
from jobmeter.wire.auditor import encode_record
from tests.given import ALL, lines
from tests.store.archive.material import archived, at, job, mixed


@pytest.fixture
def half(store: ArchivingStore, tmp_path: Path) -> ArchivingStore:
    assert set(store.put(mixed())) == {Stored.NEW}
    archived(store, tmp_path / "archive")
    return store


def test_each_archived_record_comes_back_by_its_id(half: ArchivingStore) -> None:
    for record in mixed():
        assert half.one(record.record_id, ALL) == encode_record(record)


def test_a_file_of_a_month_without_the_user_is_not_opened(half: ArchivingStore, tmp_path: Path) -> None:
    half.put([job("once", at(-58), meta={"user_id": ("seldom",), "site_id": ("A",)})])
    archived(half, tmp_path / "archive")
    (month,) = {file.month for file in half.archived_files() if file.path.endswith("_2.parquet")} & {"2025-02"}
    for file in half.archived_files():
        if file.month != month:
            Path(file.path).unlink()
    for user, found in (("seldom", ["once"]), ("nobody", [])):
        question = Question(ALL, meta=(MetaCondition("user_id", (user,)),))
        assert [record_of(line).record_id for line in lines(half, question)] == found
    with pytest.raises(StoreUnavailable, match="missing"):
        lines(half, Question(ALL, meta=(MetaCondition("user_id", ("ada",)),)))
