"""`jobmeter why`: the real program against a real server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from jobmeter.contract import RecordStore
from jobmeter.model.job import JobIdentity
from jobmeter.model.metric import Kind
from jobmeter.model.record import Component, Record
from jobmeter.model.summary import EnergySource, JobSummary, MetricSummary
from jobmeter.run import main as program
from jobmeter.serve.table import Beside
from jobmeter.store.open import open_store
from jobmeter.store.summaries import Summaries
from tests.serve.live import Live, live

MARCH = datetime(2024, 3, 1, tzinfo=UTC)


def job(name: str, user: str = "ada", cores: int = 4, used: int = 3600, **meta: str) -> Record:
    told = {"user_id": user, "site_id": "A", "group_id": "g", "collector_type": "slurm", **meta}
    components = (Component("Cores", cores, ()), Component("TotalCPU", used, ()))
    start = MARCH + timedelta(days=2)
    return Record(name, components, start, {k: (v,) for k, v in told.items()}, start + timedelta(hours=1))


@pytest.fixture
def account(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[RecordStore, Live]]:
    store = open_store(sqlite_url)
    summaries = Summaries(sqlite_url)
    numbers = (MetricSummary("cgroup_cpu_usage", "nanoseconds", Kind.COUNTER, 9, total=7.2e12),)
    of_nine = JobSummary(
        JobIdentity("slurm", "", "9"), ("n",), 0, 1, 9, 3600.0, 3600.0, True, numbers, 7200.0, EnergySource.RAPL
    )  # fmt: skip
    summaries.put([(of_nine, "slurm-9")])
    with live(store, beside=Beside(None, summaries)) as running:
        monkeypatch.setenv("JOBMETER_SERVER", f"http://127.0.0.1:{running.port}")
        yield store, running
    summaries.close()
    store.close()


def told(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert program.main(["why", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def texts(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    assert program.main(["why", *words]) == 0
    return capsys.readouterr().out.splitlines()


def test_a_record_is_found_by_its_id_and_by_that_of_its_job(
    account: tuple[RecordStore, Live], capsys: pytest.CaptureFixture[str]
) -> None:
    account[0].put([job("slurm-7"), job("odd#17.0", job_id="17.0", cluster="east", collector_type="htcondor")])
    for words in (["slurm-7"], ["7"], ["7", "--manager", "slurm"]):
        assert told(capsys, *words)["jobs"][0]["record_id"] == "slurm-7"
    for words in (["odd#17.0"], ["17.0"], ["17.0", "--manager", "htcondor", "--cluster", "east"]):
        assert told(capsys, *words)["jobs"][0]["record_id"] == "odd#17.0"
    assert program.main(["why", "17.0", "--manager", "slurm"]) == 4
    assert program.main(["why", "17.0", "--cluster", "west"]) == 4


def test_the_text_has_what_the_json_has(account: tuple[RecordStore, Live], capsys: pytest.CaptureFixture[str]) -> None:
    account[0].put([job("slurm-7")])
    said = told(capsys, "7", "--co2", "0.4")
    assert texts(capsys, "7", "--co2", "0.4") == [each["text"] for each in said["statements"]]
    assert said["jobs"][0]["cpu_efficiency"] == 0.25
    assert said["jobs"][0]["joules"] is None


def test_what_samples_said_is_joined(account: tuple[RecordStore, Live], capsys: pytest.CaptureFixture[str]) -> None:
    account[0].put([job("slurm-9")])
    facts = told(capsys, "9")["jobs"][0]
    assert (facts["from_samples"], facts["cpu_seconds"], facts["joules"]) == (True, 7200.0, 7200.0)
    assert facts["energy_measured"] is True


def test_the_jobs_of_a_user_and_month_are_told_together(
    account: tuple[RecordStore, Live], capsys: pytest.CaptureFixture[str]
) -> None:
    account[0].put([job(f"slurm-{n}", cores=n + 1) for n in range(12)] + [job("x", "bob")])
    said = told(capsys, "--user", "ada", "--month", "2024-03")
    assert said["statements"][0]["text"] == (
        "Found 12 jobs of user “ada” that ended from 2024-03-01 00:00:00 UTC until 2024-04-01 00:00:00 UTC."
    )
    assert [one["record_id"] for one in said["jobs"]] == [f"slurm-{n}" for n in range(11, 1, -1)][:10]
    assert said["statements"][0]["figures"]["jobs"]["value"] == 12
    assert program.main(["why", "--user", "ada", "--month", "2024-04"]) == 4
    assert told(capsys, "--site", "A", "--since", "2024-03-01")["statements"][0]["figures"]["jobs"]["value"] == 13


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--since", "2024-03-03T01:00:00Z"), " that ended from 2024-03-03 01:00:00 UTC on."),
        (("--until", "2024-04-01"), " that ended before 2024-04-01 00:00:00 UTC."),
        (("--group", "g", "--site", "A"), " of group “g” at site “A”."),
    ],
)
def test_it_is_said_how_jobs_were_chosen(
    account: tuple[RecordStore, Live], capsys: pytest.CaptureFixture[str], words: tuple[str, ...], text: str
) -> None:
    account[0].put([job("slurm-1")])
    assert texts(capsys, *words)[0] == f"Found 1 job{text}"


def test_a_period_ends_before_its_last_moment(
    account: tuple[RecordStore, Live], capsys: pytest.CaptureFixture[str]
) -> None:
    account[0].put([job("slurm-1")])  # it ended on 3 March at 1 o'clock
    assert len(texts(capsys, "--since", "2024-03-03T01:00:00Z")) > 1
    assert program.main(["why", "--until", "2024-03-03T01:00:00Z"]) == 4


def test_an_array_is_told_together(account: tuple[RecordStore, Live], capsys: pytest.CaptureFixture[str]) -> None:
    account[0].put([job(f"slurm-{n}", array_job_id="5") for n in range(3)] + [job("slurm-5")])
    assert told(capsys, "5", "--array")["statements"][0]["text"] == "Found 3 jobs of array “5”."
    assert program.main(["why", "6", "--array"]) == 4


def test_a_server_that_is_away_and_a_job_that_is_not_there_differ(
    account: tuple[RecordStore, Live], capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.main(["why", "nothing"]) == 4
    assert "there is no such job" in capsys.readouterr().err
    assert program.main(["why", "nothing", "--server", "http://127.0.0.1:1"]) == 1
    assert "127.0.0.1" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        [], ["--array"], ["1", "--user", "a"], ["--month", "2024-13"], ["--month", "2024-03", "--since", "2024-03-01"],
        ["1", "--co2", "-1"], ["1", "--component", "love=X"], ["1", "--server", "nowhere"],
    ],
)  # fmt: skip
def test_wrong_use_is_told(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["why", *words]) == 2
    assert "jobmeter why:" in capsys.readouterr().err


def test_a_token_is_shown(account: tuple[RecordStore, Live], tmp_path: Path) -> None:
    account[0].put([job("slurm-7")])
    assert program.main(["why", "7", "--token-file", str(tmp_path / "none")]) == 1
    (tmp_path / "token").write_text("anything\n")
    assert program.main(["why", "7", "--token-file", str(tmp_path / "token")]) == 0
