"""Priorities: a real server with the account, real commands, the real program."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jobmeter.contract import RecordStore
from jobmeter.model.record import Component, Record, Score
from jobmeter.run import main as program
from jobmeter.store.open import open_store
from tests.process import PATIENCE_SECONDS, eventually
from tests.serve.live import Live, live

NOW = datetime.now(UTC)


def job(  # noqa: PLR0917 - what varies
    name: str, group: str, cores: int = 1, score: float | None = 1.0, seconds: int = 3600, ago: int = 60
) -> Record:
    stop = NOW - timedelta(seconds=ago)
    scores = () if score is None else (Score("HEPSPEC", score),)
    parts = (Component("NumCPUs", cores, scores), Component("GPUs", 2, (Score("TFLOPS", 10.0),)))
    return Record(name, parts, stop - timedelta(seconds=seconds), {"group_id": (group,)}, stop)


class Arranged:
    """A store behind a server, and a configuration for it."""

    def __init__(self, store: RecordStore, account: Live, folder: Path) -> None:
        self.store = store
        self.port = account.port
        self.folder = folder
        self.options: dict[str, object] = {
            "auditor": {"addr": "127.0.0.1", "port": account.port, "timeout": 10},
            "components": {"NumCPUs": "HEPSPEC"},
            "group_mapping": {"group1": ["part 1"], "group2": ["part2"], "nobody": ["none"]},
            "commands": [f"/bin/sh -c 'printf \"%s|\" \"$@\" >> {folder}/set; echo >> {folder}/set' x "
                         "{group} {1} {priority} {resource}"],
            "min_priority": 1,
            "max_priority": 1001,
        }  # fmt: skip

    def config(self, **more: object) -> str:
        file = self.folder / "priority.yml"
        file.write_text(json.dumps({**self.options, **more}))
        return str(file)

    def report(self, *words: str, **more: object) -> int:
        return program.main(["report", "priority", self.config(**more), *words])

    def was_set(self) -> list[str]:
        file = self.folder / "set"
        return file.read_text().splitlines() if file.exists() else []

    def told(self, capsys: pytest.CaptureFixture[str], **more: object) -> dict[str, tuple[float, int]]:
        capsys.readouterr()
        assert self.report("--dry-run", "--json", **more) == 0
        lines = map(json.loads, capsys.readouterr().out.splitlines())
        return {line["group"]: (line["resource"], line["priority"]) for line in lines}


@pytest.fixture
def arranged(sqlite_url: str, tmp_path: Path) -> Iterator[Arranged]:
    store = open_store(sqlite_url)
    with live(store) as account:
        yield Arranged(store, account, tmp_path)
    store.close()


def test_each_group_gets_its_priority_by_the_command(arranged: Arranged) -> None:
    arranged.store.put([job("a", "group1", 8, 2.0), job("b", "group2", 4, 1.0), job("c", "elsewhere", 99)])
    assert arranged.report("--once") == 0
    assert arranged.was_set() == [
        "group1|part 1|801|57600|",
        "group2|part2|201|14400|",
        "nobody|none|1|0|",
    ]


def test_the_requirements_own_formula_sums_over_components(
    arranged: Arranged, capsys: pytest.CaptureFixture[str]
) -> None:
    arranged.store.put([job("a", "group1", 8, 2.0, 100)])
    both = {"NumCPUs": "HEPSPEC", "GPUs": "TFLOPS"}
    assert arranged.told(capsys, components=both)["group1"][0] == (8 * 2 + 2 * 10) * 100
    assert arranged.told(capsys, components=both, combine="product")["group1"][0] == 8 * 2 * 2 * 10 * 100
    assert arranged.told(capsys, components={})["group1"][0] == 100


def test_jobs_count_by_when_they_finished(arranged: Arranged, capsys: pytest.CaptureFixture[str]) -> None:
    arranged.store.put([job("a", "group1", seconds=100_000, ago=60), job("b", "group2", ago=9000)])
    told = arranged.told(capsys, duration=3600)
    assert (told["group1"][0], told["group2"][0]) == (100_000, 0)


def test_nothing_provided_is_the_lowest_priority_and_not_less(
    arranged: Arranged, capsys: pytest.CaptureFixture[str]
) -> None:
    assert {priority for _, priority in arranged.told(capsys).values()} == {1}
    assert {priority for _, priority in arranged.told(capsys, computation_mode="FullSpread").values()} == {1}


def test_a_job_without_the_score_is_told_and_adds_nothing(
    arranged: Arranged, capfd: pytest.CaptureFixture[str]
) -> None:
    arranged.store.put([job("a", "group1", score=None), job("b", "group1")])
    assert arranged.report("--dry-run") == 0
    out, err = capfd.readouterr()
    assert "group1: priority 1001, resource 3600" in out
    assert "priority.unscored group=group1 jobs=1" in err


@pytest.mark.parametrize("bad", ["/nowhere/command {group}", "/bin/sh -c 'exit 3'", "/bin/sleep 30"])
def test_a_command_that_fails_stops_no_other(arranged: Arranged, bad: str) -> None:
    arranged.store.put([job("a", "group1")])
    commands = [bad, *arranged.options["commands"]]  # type: ignore[misc]
    assert arranged.report("--once", commands=commands, command_seconds=0.3) == 1
    assert len(arranged.was_set()) == 3


def test_a_dry_run_runs_nothing(arranged: Arranged, capsys: pytest.CaptureFixture[str]) -> None:
    assert arranged.report("--dry-run") == 0
    assert capsys.readouterr().out.count("would run: [") == 3
    assert arranged.was_set() == []


def test_a_server_that_is_away_sets_nothing(arranged: Arranged) -> None:
    away = {"addr": "127.0.0.1", "port": 1, "timeout": 1}
    assert arranged.report("--once", auditor=away) == 1
    assert arranged.was_set() == []


def test_the_daemon_shows_its_last_results_and_ends_by_a_signal(arranged: Arranged) -> None:
    arranged.store.put([job("a", "group1", 8, 2.0), job("b", "group2", 4, 1.0)])
    with_port = {"addr": "127.0.0.1", "port": 0, "metrics": ["ResourceUsage", "Priority"]}
    process = subprocess.Popen(
        [sys.executable, "-m", "jobmeter", "report", "priority", arranged.config(prometheus=with_port, frequency=1)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")},
    )
    try:
        assert process.stderr is not None
        lines = []
        while "metrics.served" not in (line := process.stderr.readline()):
            lines.append(line)
        address = line.rpartition("address=")[2].strip()

        def shown(line: str) -> bool:
            with urllib.request.urlopen(address, timeout=PATIENCE_SECONDS) as answer:
                return line in answer.read().decode()

        eventually(lambda: shown('resource_usage{group="group1"} 57600'))
        eventually(lambda: shown('priority{group="group1"} 801'))
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 0
    finally:
        process.kill()
        process.communicate()


def test_the_name_of_the_superseded_program_takes_its_words(arranged: Arranged) -> None:
    assert program.auditor_priority_plugin([arranged.config(), "--once"]) == 0
    assert len(arranged.was_set()) == 3
