"""Usage records of GRACC: the real program against a real server."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jobmeter.model.record import Component, Record
from jobmeter.report.gracc.record import Told, usage_record
from jobmeter.run import main as program
from jobmeter.store.open import open_store
from tests.given import record
from tests.serve.live import live

MARCH = datetime(2024, 3, 10, 12, tzinfo=UTC)
JOB = Record(
    "slurm-7",
    (Component("Cores", 4, ()), Component("TotalCPU", 7_000_500, ())),
    MARCH,
    {
        "site_id": ("A",), "user_id": ("ada",), "group_id": ("math",), "voms": ("/cms/uscms/Role=pilot",),
        "time_unit": ("milliseconds",), "job_id": ("7",),
    },
    MARCH + timedelta(hours=1, seconds=0.5),
)  # fmt: skip


def test_a_record_has_the_fields_that_gracc_expects() -> None:
    assert usage_record(JOB, Told("jobmeter:ce")) == {
        "type": "JobUsageRecord", "ResourceType": "Batch", "RecordId": "slurm-7", "GlobalJobId": "slurm-7",
        "LocalJobId": "7", "ProbeName": "jobmeter:ce", "SiteName": "A", "LocalUserId": "ada", "CommonName": "ada",
        "VOName": "/cms/uscms/Role=pilot", "ReportableVOName": "cms", "ProjectName": "math",
        "StartTime": "2024-03-10T12:00:00Z", "EndTime": "2024-03-10T13:00:00.500000Z", "WallDuration": 3600.5,
        "CpuDuration": 7000.5, "Processors": 4.0, "Njobs": 1,
    }  # fmt: skip


def test_what_is_not_known_is_left_out_and_a_running_job_is_none() -> None:
    told = usage_record(record(), Told("p"))
    assert told is not None
    assert not {"CpuDuration", "Processors", "VOName", "SiteName"} & set(told)
    assert usage_record(record(stop=None), Told("p")) is None


def test_the_jobs_of_a_month_are_written(sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(sqlite_url)
    first, end = datetime(2024, 3, 1, tzinfo=UTC), datetime(2024, 4, 1, tzinfo=UTC)
    moment = timedelta(microseconds=1)
    stops = {"before": first - moment, "first": first, "last": end - moment, "after": end}
    others = [Record(name, (), stop - timedelta(hours=1), None, stop) for name, stop in stops.items()]
    with live(store) as running:
        monkeypatch.setenv("JOBMETER_SERVER", f"http://127.0.0.1:{running.port}")
        store.put([JOB, *others])
        file = tmp_path / "march.jsonl"
        assert program.main(["report", "gracc", "--month", "2024-03", "--output", str(file)]) == 0
    store.close()
    written = [json.loads(line)["RecordId"] for line in file.read_text().splitlines()]
    assert written == ["first", "slurm-7", "last"]
    assert program.main(["report", "gracc", "--month", "2024-03", "--output", str(tmp_path / "none")]) == 1
    assert not (tmp_path / "none").exists()
