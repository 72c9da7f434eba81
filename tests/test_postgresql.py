"""The server that the tests make for themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.postgresql import PostgresqlMissing, folder_of_binaries


def test_missing_binaries_are_told_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PostgresqlMissing, match="apt-get install postgresql"):
        folder_of_binaries(debian=tmp_path)


def test_the_newest_of_debians_versions_is_taken(tmp_path: Path) -> None:
    for version in ("9.6", "13", "15"):
        folder = tmp_path / version / "bin"
        folder.mkdir(parents=True)
        (folder / "initdb").touch()
        (folder / "postgres").touch()
    assert folder_of_binaries(debian=tmp_path) == tmp_path / "15" / "bin"
