"""The monthly page: the real program against a real server."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from jobmeter.contract import RecordStore
from jobmeter.model.record import Component, Record
from jobmeter.run import main as program
from jobmeter.store.open import open_store
from tests.serve.live import live

MARCH = datetime(2024, 3, 10, tzinfo=UTC)


def job(
    name: str, site: str = "A", group: str = "g", when: datetime = MARCH, unit: str = "seconds", **amounts: int
) -> Record:
    meta: dict[str, tuple[str, ...]] = {"site_id": (site,), "group_id": (group,), "time_unit": (unit,)}
    components = tuple(Component(key, amount, ()) for key, amount in {"Cores": 2, **amounts}.items())
    return Record(name, components, when, meta, when + timedelta(hours=1))


@pytest.fixture
def store(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[RecordStore]:
    opened = open_store(sqlite_url)
    with live(opened) as running:
        monkeypatch.setenv("JOBMETER_SERVER", f"http://127.0.0.1:{running.port}")
        yield opened
    opened.close()


def told(capsys: pytest.CaptureFixture[str]) -> Any:
    assert program.main(["report", "month", "--month", "2024-03", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_sums_are_those_of_the_records(store: RecordStore, capsys: pytest.CaptureFixture[str]) -> None:
    store.put(
        [
            job("1", TotalCPU=3600, Energy=3_600_000),
            job("2", TotalCPU=7_200_000, unit="milliseconds"),
            job("3", site="B", group="h"),
            job("4", when=MARCH - timedelta(days=40), TotalCPU=1),
            job("5", when=MARCH + timedelta(days=40)),
        ]
    )
    said = told(capsys)
    assert said["total"] == {
        "jobs": 3, "core_hours": 6.0, "efficiency": 0.75, "kilowatt_hours": 1.0, "energy_jobs": 1,
    }  # fmt: skip
    by_site = {each["name"]: each for each in said["sites"]}
    assert (by_site["A"]["core_hours"], by_site["B"]["efficiency"], by_site["B"]["kilowatt_hours"]) == (4.0, None, None)
    months = {each["name"]: each["jobs"] for each in said["months"]}
    assert len(months) == 12
    assert (months["2024-03"], months["2024-01"], months["2023-04"]) == (3, 1, 0)


def test_the_page_needs_nothing_else_and_shows_hostile_names_as_text(store: RecordStore, tmp_path: Path) -> None:
    store.put([job("1", site="<script>alert(1)</script>", group="\u202eevil", TotalCPU=3600)])
    file = tmp_path / "month.html"
    assert program.main(["report", "month", "--month", "2024-03", "--output", str(file), "--title", "A & B"]) == 0
    text = file.read_text()
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    assert "A &amp; B: 2024-03" in text
    assert "<td>\\u202eevil</td>" in text
    assert "http://" not in text.replace("http-equiv", "")
    assert "src=" not in text.replace("-src", "")
    drawing = text[text.index("<svg") : text.index("</svg>") + 6]
    assert len(ET.fromstring(drawing).findall("rect")) == 12


def test_a_month_begins_and_ends_in_utc_by_the_end_of_the_job(
    store: RecordStore, capsys: pytest.CaptureFixture[str]
) -> None:
    first, end, moment = MARCH.replace(day=1, hour=0), MARCH.replace(month=4, day=1, hour=0), timedelta(microseconds=1)
    stops = (first - moment, first, end - moment, end)
    store.put([replace(job(f"{n}", when=stop - timedelta(hours=1)), stop_time=stop) for n, stop in enumerate(stops)])
    said = told(capsys)
    assert said["total"]["jobs"] == 2
    assert {each["name"]: each["jobs"] for each in said["months"] if each["jobs"]} == {"2024-02": 1, "2024-03": 2}


def test_processor_time_without_cores_makes_nothing_efficient(
    store: RecordStore, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = job("1", TotalCPU=3600)
    store.put([whole, replace(job("2"), components=(Component("TotalCPU", 10**6, ()),))])
    assert told(capsys)["total"]["efficiency"] == 0.5


def test_jobs_without_a_group_are_told_as_such(store: RecordStore, capsys: pytest.CaptureFixture[str]) -> None:
    store.put([replace(job("1"), meta=None)])
    assert [one["name"] for one in told(capsys)["groups"]] == [None]
    assert program.main(["report", "month", "--month", "2024-03"]) == 0
    assert "<td>(none)</td><td>1</td>" in capsys.readouterr().out


def test_each_number_stands_in_its_column(store: RecordStore, capsys: pytest.CaptureFixture[str]) -> None:
    store.put([job("1", TotalCPU=3600, Energy=7_200_000), job("2", site="B")])
    assert program.main(["report", "month", "--month", "2024-03", "--co2", "0.5"]) == 0
    text = capsys.readouterr().out
    assert "<tr><td>A</td><td>1</td><td>2.0</td><td>50.0%</td><td>2.0</td></tr>" in text
    assert "<tr><td>B</td><td>1</td><td>2.0</td><td>not known</td><td>not known</td></tr>" in text
    assert "used 50% of them. They used 2.0 kWh, as far as it is known (of 1 jobs)" in text
    assert "at 0.5 kg a kWh that is 1.0 kg of carbon dioxide" in text
    assert re.search(r"Made \d{4}-\d\d-\d\d \d\d:\d\d UTC\.", text)


def test_many_groups_are_gathered_and_nothing_is_left_out(
    store: RecordStore, capsys: pytest.CaptureFixture[str]
) -> None:
    store.put([job(f"{n}", group=f"g{n:02}") for n in range(30)])
    assert program.main(["report", "month", "--month", "2024-03"]) == 0
    text = capsys.readouterr().out
    assert "<td>5 more</td><td>5</td><td>10.0</td>" in text
    assert len(told(capsys)["groups"]) == 30


def test_a_month_without_jobs_is_a_page_as_well(store: RecordStore, capsys: pytest.CaptureFixture[str]) -> None:
    del store
    assert program.main(["report", "month", "--month", "2024-03", "--text"]) == 0
    out = capsys.readouterr().out
    assert out == "No job ended in 2024-03.\n"
    assert program.main(["report", "month", "--month", "2024-03"]) == 0
    assert "<p>No job ended in 2024-03.</p>" in capsys.readouterr().out


def test_a_server_that_is_away_leaves_no_file(tmp_path: Path) -> None:
    file = tmp_path / "month.html"
    words = ["report", "month", "--month", "2024-03", "--output", str(file), "--server", "http://127.0.0.1:1"]
    assert program.main(words) == 1
    assert not file.exists()
    assert program.main(["report", "month", "--month", "2024-13"]) == 2
