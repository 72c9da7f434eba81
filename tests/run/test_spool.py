from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from jobmeter.deliver.settings import SpoolSettings
from jobmeter.deliver.spool import Spool
from jobmeter.model.outcome import Rejected
from jobmeter.run.commands.spool import declare, execute
from tests.deliver.material import SetClock, batch


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A spool with a waiting record, an unreadable entry (letter 1) and a rejected record (letter 2)."""
    made = tmp_path / "spool.db"
    with Spool(made, SpoolSettings(), SetClock()) as spool:
        spool.absorb("slurm", batch("a", "b", cursor="42", refused=["x\x1b|y"]))
        spool.settle([(spool.due(1)[0], Rejected("conflict"))])
    return made


def run(*words: str | Path) -> int:
    parser = argparse.ArgumentParser()
    declare(parser)
    return execute(parser.parse_args([str(word) for word in words]))


def letters(path: Path) -> list[int | None]:
    with Spool(path, SpoolSettings(), SetClock()) as spool:
        return [letter.number for letter in spool.letters(10)]


def test_the_status_tells_what_waits_and_every_counter(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("status", path, "--check") == 0
    shown = capsys.readouterr().out
    assert "waiting       1 records" in shown
    assert "dead letters  2" in shown
    assert "cursor        slurm: 42" in shown
    assert "rejected      1  records that the receiver refused" in shown
    assert run("status", path, "--json") == 0
    status = json.loads(capsys.readouterr().out)
    assert (status["entries"], status["letters"], status["counters"]["refused"]) == (1, 2, 1)


def test_letters_are_shown_with_reason_and_body(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("letters", path) == 0
    heads, rejected, refused = capsys.readouterr().out.splitlines()
    assert heads.split() == ["NUMBER", "RECEIVED", "FROM", "BYTES", "REASON", "BODY"]
    assert rejected.startswith("2 ") and "conflict" in rejected and '"record_id":"a"' in rejected
    assert refused.endswith("is odd    x\\x1b|y")
    assert run("letters", path, "--json", "--limit", "1") == 0
    assert json.loads(capsys.readouterr().out)["number"] == 2


def test_a_rejected_record_goes_back_and_an_unreadable_entry_does_not(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("retry", path, "1", "2", "--dry-run") == 1
    assert letters(path) == [2, 1]
    assert run("retry", path, "1", "2") == 1
    assert letters(path) == [1]
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "would put back 1 of 2 dead letters"
    assert shown[2] == "put back 1 of 2 dead letters"
    assert shown[1] == shown[3]
    assert run("retry", path, "--all") == 0


def test_letters_are_dropped_by_number_or_all(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("drop", path, "1", "--dry-run") == 0
    assert letters(path) == [2, 1]
    assert run("drop", path, "1", "9") == 1
    assert letters(path) == [2]
    assert run("drop", path, "--all") == 0
    assert letters(path) == []
    assert capsys.readouterr().out.splitlines() == [
        "would drop 1 of 1 dead letters",
        "dropped 1 of 2 dead letters",
        "dropped 1 of 1 dead letters",
    ]


def test_wrong_use_ends_with_2(path: Path) -> None:
    assert run("retry", path) == 2
    assert run("drop", path, "1", "--all") == 2
    assert run("status", path.with_name("missing")) == 2
    assert not path.with_name("missing").exists()


def test_a_damaged_spool_is_told(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_bytes(b"nonsense" * 100)
    assert run("status", path) == 1
    assert "move the file" in capsys.readouterr().err
