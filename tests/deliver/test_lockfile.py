"""One holder at a time."""

from __future__ import annotations

import stat
from pathlib import Path

from jobmeter.deliver.lockfile import alone


def test_the_first_is_alone_and_the_next_is_told_that_it_is_not(tmp_path: Path) -> None:
    with alone(tmp_path / "lock") as first:
        with alone(tmp_path / "lock") as second:
            assert (first, second) == (True, False)
        with alone(tmp_path / "lock") as third:
            assert third is False  # who was refused has not let go of another's lock


def test_when_one_ends_the_next_may_begin(tmp_path: Path) -> None:
    for _ in range(2):
        with alone(tmp_path / "lock") as ours:
            assert ours
    assert stat.S_IMODE((tmp_path / "lock").stat().st_mode) == 0o600
