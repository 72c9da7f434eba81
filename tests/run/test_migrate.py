from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from jobmeter.run import migrate
from jobmeter.store.schema import HEAD
from tests.postgresql import PrivatePostgresql


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    migrate.declare(parser)
    return migrate.execute(parser.parse_args(arguments))


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.sqlite"
    server: PrivatePostgresql = request.getfixturevalue("postgresql")
    return server.new_database(empty=True)


def test_a_dry_run_shows_the_steps_and_changes_nothing(empty_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert run("--database", empty_url, "--dry-run") == 0
        assert capsys.readouterr().out.startswith("pending: 0001 Records")
    path = Path(empty_url.removeprefix("sqlite:///"))
    assert empty_url.startswith("postgresql:") or not path.exists()


def test_migrating_twice_does_nothing_the_second_time(empty_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--database", empty_url) == 0
    assert f"done: {HEAD}" in capsys.readouterr().out
    assert run("--database", empty_url) == 0
    assert capsys.readouterr().out == "the database is up to date\n"


def test_an_address_of_another_kind_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--database", "mysql://root:secret@host/db") == 2
    error = capsys.readouterr().err
    assert "sqlite:///PATH" in error
    assert "secret" not in error


def test_a_database_that_does_not_answer_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--database", f"postgresql://me:secret@/db?host={tmp_path}") == 1
    assert "secret" not in capsys.readouterr().err
    assert run("--database", f"sqlite:///{tmp_path}/no/such/folder/store.sqlite") == 1
