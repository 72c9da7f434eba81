"""`jobmeter records versions|correct|withdraw|conflicts|verify` against a real server."""

from __future__ import annotations

import argparse
import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from jobmeter.model.access import Grant, Role
from jobmeter.model.token import Token
from jobmeter.run.commands.records import declare, execute
from jobmeter.serve.access import AccessSettings
from jobmeter.serve.secret import digest_of
from jobmeter.serve.settings import ServeSettings
from jobmeter.serve.table import Beside
from jobmeter.store.conflicts import Conflicts
from jobmeter.store.open import ArchivingStore, open_store
from jobmeter.store.tokens import Tokens
from tests.serve.live import Live, live, record

SITES = {site: record("a/b", meta={"site_id": [site]}) for site in "ABC"}


@pytest.fixture
def store(sqlite_url: str) -> Iterator[ArchivingStore]:
    opened = open_store(sqlite_url)
    yield opened
    opened.close()


@pytest.fixture
def server(store: ArchivingStore, sqlite_url: str) -> Iterator[Live]:
    kept = Conflicts(sqlite_url)
    with live(store, beside=Beside(conflicts=kept)) as running:
        assert running.post("/record", SITES["A"]).status == 200
        yield running
    kept.close()


def run(server: Live, *words: str) -> int:
    parser = argparse.ArgumentParser(exit_on_error=False)
    declare(parser)
    return execute(parser.parse_args([words[0], "--server", f"http://127.0.0.1:{server.port}", *words[1:]]))


def test_a_record_is_corrected_and_withdrawn_and_its_versions_are_printed(
    server: Live, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "record.json"
    file.write_text(json.dumps(SITES["B"]))
    assert run(server, "correct", str(file), "--why", "wrong site") == 0
    assert run(server, "correct", str(file), "--why", "again") == 0
    assert capsys.readouterr().out.splitlines() == ["done", "nothing to change: it is so already"]
    assert run(server, "versions", "a/b") == 0
    heads, row = capsys.readouterr().out.splitlines()
    assert heads.startswith("VERSION")
    assert "corrected" in row
    assert 'wrong site  meta: {"site_id": ["A"]} -> {"site_id": ["B"]}' in row
    assert run(server, "withdraw", "a/b", "--why", "a test job", "--json") == 0
    assert run(server, "versions", "a/b", "--json") == 0
    said, *kept = map(json.loads, capsys.readouterr().out.splitlines())
    assert said == {"outcome": "done"}
    assert [one["why"] for one in kept] == ["wrong site", "a test job"]
    assert run(server, "withdraw", "a/b", "--why", "again") == 1
    assert "no record with this record_id" in capsys.readouterr().err


def test_records_are_shown_and_listed_as_they_were(
    server: Live, store: ArchivingStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store.now = lambda: 1_000_000
    server.post("/record", record("then", meta={"site_id": ["A"]}))
    store.now = lambda: 2_000_000
    file = tmp_path / "record.json"
    file.write_text(json.dumps(record("then", meta={"site_id": ["B"]})))
    assert run(server, "correct", str(file), "--why", "wrong site") == 0
    capsys.readouterr()
    for moment, site in (("1970-01-01T00:00:01", "A"), ("1970-01-01T00:00:02+00:00", "B")):
        assert run(server, "show", "then", "--as-of", moment, "--json") == 0
        assert run(server, "export", "--as-of", moment, "--site", site) == 0
        shown, exported = map(json.loads, capsys.readouterr().out.splitlines())
        assert shown == exported
        assert shown["meta"] == {"site_id": [site]}
    assert run(server, "show", "then", "--as-of", "1970-01-01") == 1
    assert run(server, "list", "--as-of", "2999-01-01") == 2
    assert "lies in the future" in capsys.readouterr().err


def test_conflicts_are_listed_and_decided(server: Live, capsys: pytest.CaptureFixture[str]) -> None:
    server.post("/record", SITES["B"])
    server.post("/record", SITES["C"])
    assert run(server, "conflicts") == 0
    heads, first, second = capsys.readouterr().out.splitlines()
    assert heads.split()[:4] == ["NUMBER", "RECORD", "RECEIVED", "SENT"]
    assert first.endswith('meta: {"site_id": ["A"]} -> {"site_id": ["B"]}')
    assert second.startswith("2 ")
    assert run(server, "conflicts", "1", "take") == 2
    assert run(server, "conflicts", "1", "take", "--why", "looked it up") == 0
    assert run(server, "conflicts", "2", "keep", "--why", "looked it up") == 0
    assert server.ask("GET", "/record/a%2Fb").json()["meta"] == {"site_id": ["B"]}
    capsys.readouterr()
    assert run(server, "conflicts", "--json", "--limit", "1") == 0
    assert capsys.readouterr().out == ""
    assert run(server, "conflicts", "--decided", "--json", "--limit", "1") == 0
    assert json.loads(capsys.readouterr().out)["decision"] == "take"


def test_a_broken_chain_ends_verify_with_1(server: Live, sqlite_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    server.post("/v2/records/a%2Fb/corrections", {"why": "w", "record": SITES["B"]})
    assert run(server, "verify") == 0
    assert capsys.readouterr().out == "the chain holds\n"
    connection = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))
    connection.execute("UPDATE versions SET why = 'another'")
    connection.commit()
    connection.close()
    assert run(server, "verify") == 1
    assert "was changed or taken out" in capsys.readouterr().out
    assert run(server, "verify", "--json") == 1
    assert json.loads(capsys.readouterr().out)["fault_count"] == 1


@pytest.mark.parametrize("text", ["", "[]", "{}"])
def test_what_is_no_record_is_not_sent(
    server: Live, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    file = tmp_path / "record.json"
    file.write_text(text)
    assert run(server, "correct", str(file), "--why", "w") == 2
    assert str(file) in capsys.readouterr().err


def test_a_token_is_shown_and_is_who_changed_the_record(
    sqlite_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, tokens = open_store(sqlite_url), Tokens(sqlite_url)
    secret, file = tmp_path / "token", tmp_path / "records.json"
    secret.write_text("secret\n")
    file.write_text(json.dumps(SITES["A"]))
    roles = frozenset({Role.READ, Role.WRITE, Role.CORRECT})
    tokens.add(Token("officer", (Grant(roles),), datetime(2024, 1, 1, tzinfo=UTC)), digest_of("secret"))
    with live(store, ServeSettings(access=AccessSettings(required=True)), tokens) as server:
        shown = ("--token-file", str(secret))
        assert run(server, "add", str(file), *shown) == 0
        assert run(server, "withdraw", "a/b", "--why", "w") == 1
        assert run(server, "withdraw", "a/b", "--why", "w", *shown) == 0
        capsys.readouterr()
        assert run(server, "versions", "a/b", "--json", *shown) == 0
    assert json.loads(capsys.readouterr().out)["who"] == "token 1 (officer)"
    tokens.close()
    store.close()
