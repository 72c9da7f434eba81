from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from jobmeter.run.commands import migrate
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


def test_the_settings_of_the_server_name_the_database(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "serve.toml"
    config.write_text(f'database_url = "sqlite:///{tmp_path}/named.db"')
    assert run(str(config)) == 0
    assert f"done: {HEAD}" in capsys.readouterr().out
    assert (tmp_path / "named.db").exists()


def test_as_auditor_a_missing_database_is_created_from_the_environment(
    postgresql: PrivatePostgresql, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    known = conninfo_to_dict(postgresql.new_database(empty=True))
    name = f'{known["dbname"]} "odd" name'
    for key, value in {"HOST": known["host"], "USERNAME": known["user"]}.items():
        monkeypatch.setenv(f"AUDITOR_DATABASE__{key}", str(value))
    monkeypatch.setenv("AUDITOR_DATABASE__DATABASE_NAME", name)
    assert run("--as-auditor") == 0
    assert capsys.readouterr().out.startswith("created: ")
    assert run("--as-auditor") == 0
    assert capsys.readouterr().out == "the database is up to date\n"
