"""A program that is killed while it archives loses nothing and doubles nothing, whatever it was doing."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jobmeter.model.outcome import Stored
from jobmeter.model.question import Question
from jobmeter.store.archive.verifying import fault_of
from jobmeter.store.open import open_store
from tests.given import ALL, lines
from tests.store.archive.material import archived, hot_ids, mixed

STEPS = ["read", "written", "named", "removed", "listed", "done"]
ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_at_every_step_loses_and_doubles_nothing(database_url: str, tmp_path: Path, step: str) -> None:
    store = open_store(database_url)
    store.put(mixed())
    before = lines(store, Question(ALL))
    store.close()
    folder = tmp_path / "archive"
    command = [sys.executable, "-m", "tests.store.archive.killed", database_url, str(folder), step]
    assert subprocess.run(command, cwd=ROOT, timeout=120, check=False).returncode == -signal.SIGKILL
    store = open_store(database_url)
    try:
        listed = store.archived_files()
        assert len(listed) == (1 if step == "done" else 0)
        assert lines(store, Question(ALL)) == before
        assert store.counts() == {"": len(before)}
        assert set(store.put(mixed())) == {Stored.SAME}
        assert len(archived(store, folder, file_records=70)) > 2
        assert lines(store, Question(ALL)) == before
        assert len(hot_ids(store)) < len(before)
        assert [fault_of(store.archive, file) for file in store.archived_files()] == [None] * len(
            store.archived_files()
        )
        assert list(folder.glob("*.partial*")) == []
    finally:
        store.close()
