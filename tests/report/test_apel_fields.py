"""Values from records, by the field types of both generations."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jobmeter.model.record import Component, Record, Score
from jobmeter.report.apel.fields import (
    ComponentField,
    ConstantField,
    Field,
    Function,
    MetaField,
    Missing,
    NormalisedField,
    NormalisedWallDurationField,
    RecordField,
    ScoreField,
    values,
)
from jobmeter.report.apel.settings import Config
from jobmeter.settings.fault import SettingsFaulty
from jobmeter.settings.load import load

START = datetime(2024, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
RECORD = Record(
    record_id="slurm-17",
    components=(
        Component("Cores", 8, (Score("HEPscore23", 11.5), Score("hepspec", 0.1))),
        Component("TotalCPU", 2500, ()),
    ),
    start_time=START,
    stop_time=START + timedelta(seconds=3601, milliseconds=900),
    meta={"voms": ("/atlas/Role=production", "second"), "user": ("at1234",), "site_id": ("A",)},
)
SCORE = ScoreField("HEPscore23", "Cores")
CASES = Path(__file__).parents[1] / "cases" / "apel"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (ComponentField("Cores"), 8),
        (ComponentField("TotalCPU", 1000), 2),
        (ComponentField("TotalCPU", 200), 12),
        (MetaField("voms"), "/atlas/Role=production"),
        (MetaField("nothing"), None),
        (MetaField("voms", regex="Role=.*"), "Role=production"),
        (MetaField("voms", regex="xyz"), None),
        (MetaField("voms", regex=r"(?<=%2F).*?\S(?=%2F)"), "atlas"),
        (MetaField("voms", regex=r"(?=Role).*"), "Role=production"),
        (MetaField("user", function=Function("vo_mapping", {"cm": "cms", "at": "atlas", "a": "never"})), "atlas"),
        (MetaField("user", function=Function("vo_mapping", {"cm": "cms"})), None),
        (MetaField("user", regex=r"\d+", function=Function("vo_mapping", {"at": "atlas"})), "1234"),
        (ConstantField("grid"), "grid"),
        (ConstantField(5), 5),
        (SCORE, 11.5),
        (RecordField("record_id"), "slurm-17"),
        (RecordField("runtime"), 3601),
        (RecordField("stop_time"), 1709298002),
        (RecordField("start_time", "month"), 3),
        (NormalisedField(SCORE), 41412),
        (NormalisedField(SCORE, ComponentField("TotalCPU", 1000)), 23),
        (NormalisedField(ScoreField("hepspec", "Cores"), ConstantField(25)), 2),
        (NormalisedWallDurationField(SCORE), 41412),
    ],
)
def test_a_field_reads_its_value(field: Field, value: object) -> None:
    assert field.read(RECORD) == value


def test_what_was_percent_encoded_when_it_was_stored_is_found_by_the_older_patterns_too() -> None:
    field = MetaField("voms", regex=r"(?<=%2F).*?\S(?=%2F)")
    assert field.text_of("%2Fatlas%2Fde%2FRole%3Dproduction") == "atlas"
    assert MetaField("voms", regex=r"(?=%2F).*?\S(?=%2F)").text_of("/atlas/de/Role=production") == "/atlas"


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        (ComponentField("GPU"), "there is no component GPU"),
        (ScoreField("si2k", "Cores"), "the component Cores has no score si2k"),
        (NormalisedField(SCORE, ConstantField("x")), "the base value is no number"),
    ],
)
def test_what_a_record_lacks_is_told(field: Field, reason: str) -> None:
    with pytest.raises(Missing, match=reason):
        field.read(RECORD)


def test_a_job_that_has_not_stopped_has_no_runtime() -> None:
    running = Record("r", (), START)
    for field in (RecordField("runtime"), RecordField("stop_time")):
        with pytest.raises(Missing, match="has not stopped"):
            field.read(running)


def test_a_search_without_end_is_ended() -> None:
    with pytest.raises(Missing, match="took longer"):
        MetaField("voms", regex=r"(a|aa|aaa)+$").text_of("a" * 5000 + "b")


def test_all_fields_of_a_message_are_read_at_once() -> None:
    assert values({"Processors": ComponentField("Cores"), "VO": MetaField("nothing")}, RECORD) == {
        "Processors": 8,
        "VO": None,
    }


@pytest.mark.parametrize("name", ["older", "newer"])
def test_the_example_of_each_generation_loads_without_a_word(name: str) -> None:
    loaded = load(Config, file=CASES / name / "settings.yml", environment={}, prefix=None)
    assert loaded.notes == ()
    assert loaded.settings.is_older == (name == "older")
    assert loaded.settings.benchmark == "HEPscore23"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('SITE_B: ["site_id_3"]', 'SITE_B: ["site_id_1"]', "'site_id_1' stands twice"),
        ("    CpuDuration: !Comp", "    CpuDurations: !Comp", "Fields CpuDuration are mandatory"),
        ("    VORole:", "    Colour:", "Colour is not a field that can be set"),
        ("(?=Role).*", "(?=Role", "is not a regular expression"),
        ("!ConstantField", "!FixedField", "the tag !FixedField is not known; there are: !ComponentField, !MetaField"),
    ],
)
def test_a_mistake_in_the_file_is_told_with_its_line(tmp_path: Path, old: str, new: str, told: str) -> None:
    text = (CASES / "older" / "settings.yml").read_text()
    assert old in text
    file = tmp_path / "apel.yml"
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(SettingsFaulty, match=told) as raised:
        load(Config, file=file, environment={}, prefix=None)
    assert "apel.yml:" in str(raised.value)
