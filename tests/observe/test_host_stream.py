from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobmeter.observe.host import CommandFailed, CommandMissing, CommandTimedOut
from tests.observe.slurm_tables import SetClock, host
from tests.process import eventually, is_alive


def stream(script: str, told: list[str] | None = None, seconds: float = 30) -> Iterator[bytes]:
    argv = ("/bin/sh", "-c", script)
    return host(SetClock()).stream(argv, environment={}, timeout_seconds=seconds, told=[] if told is None else told)


def test_output_comes_while_the_command_runs(tmp_path: Path) -> None:
    go = tmp_path / "go"
    found = stream(f"printf first; while [ ! -e {go} ]; do sleep 0.05; done; printf second")
    assert next(found) == b"first"
    go.touch()
    assert b"".join(found) == b"second"


def test_more_than_fits_into_a_pipe_is_given_whole() -> None:
    assert sum(map(len, stream("head -c 3000000 /dev/zero"))) == 3_000_000


def test_what_was_written_before_a_failure_is_given_first() -> None:
    found = stream("printf some; echo why >&2; exit 3")
    assert next(found) == b"some"
    with pytest.raises(CommandFailed, match="why") as failed:
        next(found)
    assert failed.value.status == 3


def test_what_a_good_command_says_on_standard_error_is_told() -> None:
    told: list[str] = []
    assert b"".join(stream("echo skipping >&2; printf out", told)) == b"out"
    assert told == ["skipping"]


def test_only_the_time_that_the_command_keeps_us_waiting_counts() -> None:
    found = stream("for i in 1 2 3; do printf x; done; sleep 0.05; printf y", seconds=60)
    assert next(found)
    time.sleep(0.1)
    assert b"y" in b"".join(found)
    with pytest.raises(CommandTimedOut):
        list(stream("sleep 60", seconds=0.2))


def test_closing_ends_the_command_and_all_that_it_started(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    found = stream(f"sleep 600 & echo $! > {note}; printf x; wait")
    assert next(found) == b"x"
    found.close()  # type: ignore[attr-defined]
    child = int(note.read_text())
    eventually(lambda: not is_alive(child))


def test_a_command_that_is_not_there_is_told() -> None:
    with pytest.raises(CommandMissing):
        list(host(SetClock()).stream(("/nonexistent",), environment={}, timeout_seconds=1, told=[]))
