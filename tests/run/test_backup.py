"""Backup and restore as docs/operation.md describes them, while the server takes writes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from jobmeter.model.question import Question
from jobmeter.store.open import open_store
from jobmeter.store.tokens import Tokens
from tests.clients.server import REPOSITORY, LiveServer, live
from tests.given import ALL, lines
from tests.postgresql import PrivatePostgresql, folder_of_binaries
from tests.run.killing import Load

BACKUP = "import sqlite3, sys; a, b = map(sqlite3.connect, sys.argv[1:]); a.backup(b); b.close(); a.close()"


def made_token(url: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "jobmeter", "token", "create", "x", "--role", "read", "--database", url],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "src")},
        stdout=subprocess.DEVNULL,
        check=True,
    )


def require_same(url: str, acknowledged_before: set[str]) -> None:
    """The restored database is whole, opens as it is, and holds all that was acknowledged before the backup began."""
    store = open_store(url)
    found = {line.split(b'"')[3].decode() for line in lines(store, Question(ALL))}
    assert len(found) == store.counts()[""]
    store.close()
    assert acknowledged_before <= found
    tokens = Tokens(url)
    assert [token.name for token in tokens.all()] == ["x"]
    tokens.close()


def served_again(folder: Path, url: str, least: int) -> None:
    with live(folder, ["--database", url]) as server:
        assert len(server.records()) >= least


def loaded(server: LiveServer) -> Load:
    load = Load(server)
    load.__enter__()
    load.wait_for(300)
    return load


def test_a_copy_of_sqlite_made_while_it_is_written_is_whole(tmp_path: Path) -> None:
    with live(tmp_path) as server:
        original, copy = server.data / "records.db", tmp_path / "copy.db"
        made_token(f"sqlite:///{original}")
        load = loaded(server)
        before = set(load.acknowledged)
        subprocess.run([sys.executable, "-c", BACKUP, str(original), str(copy)], check=True)
        load.wait_for(50)
        load.__exit__()
    require_same(f"sqlite:///{copy}", before)
    served_again(tmp_path / "again", f"sqlite:///{copy}", len(before))


@pytest.mark.parametrize("form", ["custom", "plain"])
def test_a_dump_of_postgresql_made_while_it_is_written_is_whole(
    postgresql: PrivatePostgresql, tmp_path: Path, form: str
) -> None:
    url, fresh = postgresql.new_database(), postgresql.new_database(empty=True)
    dump = tmp_path / "dump"
    with live(tmp_path, ["--database", url]) as server:
        made_token(url)
        load = loaded(server)
        before = set(load.acknowledged)
        program("pg_dump", f"--format={form}", "--no-owner", f"--file={dump}", f"--dbname={url}")
        load.wait_for(50)
        load.__exit__()
    if form == "custom":
        program("pg_restore", "--no-owner", "--exit-on-error", f"--dbname={fresh}", str(dump))
    else:
        program("psql", "--quiet", "--set=ON_ERROR_STOP=1", f"--file={dump}", f"--dbname={fresh}")
    with psycopg.connect(fresh, autocommit=True) as connection:
        connection.execute("ANALYZE")
    require_same(fresh, before)
    served_again(tmp_path / "again", fresh, len(before))


def program(name: str, *words: str) -> None:
    """One of PostgreSQL's programs."""
    done = subprocess.run(
        [str(folder_of_binaries() / name), *words], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
