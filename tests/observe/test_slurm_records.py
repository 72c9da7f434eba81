from __future__ import annotations

from typing import Any

import msgspec
import pytest

from jobmeter.contract import Refused
from jobmeter.model.record import Record
from jobmeter.observe.shape.record import LeftOut
from jobmeter.observe.slurm.job import gather
from jobmeter.observe.slurm.record import Shaper
from jobmeter.observe.slurm.row import Row
from jobmeter.observe.slurm.settings import Settings
from tests.observe.slurm_tables import BASE, row


def shape(table: dict[str, str], **settings: Any) -> Record | LeftOut | Refused:
    jobs, _ = gather([Row({name.lower(): text for name, text in table.items()}, "raw text")])
    kind = msgspec.convert(settings, Settings)
    return Shaper(kind).shape(jobs[0])


def record(table: dict[str, str], **settings: Any) -> Record:
    made = shape(table, **settings)
    assert isinstance(made, Record), made
    return made


def refusal(table: dict[str, str], **settings: Any) -> str:
    made = shape(table, **settings)
    assert isinstance(made, Refused), made
    assert made.raw == "raw text"
    return made.reason


def component(name: str = "X", key: str = "NCPUS", **more: Any) -> dict[str, Any]:
    return {"name": name, "key": key, **more}


def test_the_defaults_give_auditors_record_with_kind_and_unit_in_its_meta() -> None:
    made = record(row())
    assert made.record_id == "slurm-17"
    assert made.meta == {
        "site_id": ("NOT_CONFIGURED",),
        "user_id": ("alice",),
        "group_id": ("physics",),
        "collector_type": ("slurm",),
        "time_unit": ("milliseconds",),
    }
    assert [(each.name, each.amount, each.scores) for each in made.components] == [("Cores", 4, ())]
    assert made.runtime_seconds == 1799


@pytest.mark.parametrize(
    ("more", "unit", "amount"),
    [
        ({}, "milliseconds", 61_999),
        ({"tls_config": {"use_tls": False}}, "seconds", 61),
        ({"logging": {}}, "seconds", 61),
        ({"time_unit": "seconds"}, "seconds", 61),
        ({"time_unit": "milliseconds", "logging": {}}, "milliseconds", 61_999),
    ],
)
def test_the_unit_of_times_follows_the_generation_of_the_file(more: dict[str, Any], unit: str, amount: int) -> None:
    made = record(row(TotalCPU="01:01.999"), components=[component(key="TotalCPU", key_type="Time")], **more)
    assert made.components[0].amount == amount
    assert made.meta is not None
    assert made.meta["time_unit"] == (unit,)


@pytest.mark.parametrize(
    ("text", "kind", "amount"),
    [
        ("4G", "IntegerMega", 4096),
        ("1024M", "IntegerMega", 1024),
        ("2000Mn", "IntegerMega", 2000),
        ("4G", "Integer", 2**32),
    ],
)
def test_memory_is_read_by_its_suffix(text: str, kind: str, amount: int) -> None:
    assert record(row(ReqMem=text), components=[component(key="ReqMem", key_type=kind)]).components[0].amount == amount


def test_a_column_serves_as_a_condition_and_as_a_number_at_once() -> None:
    made = record(
        row(),
        sites=[{"name": "S", "only_if": {"key": "NCPUS", "matches": "^4$"}}],
        components=[component(only_if={"key": "ncpus", "matches": "4"})],
    )
    assert made.components[0].amount == 4
    assert made.meta is not None
    assert made.meta["site_id"] == ("S",)


def test_the_first_site_that_matches_is_taken() -> None:
    sites = [
        {"name": "a", "only_if": {"key": "Partition", "matches": "^bat$"}},
        {"name": "b", "only_if": {"key": "Partition", "matches": "at"}},
        {"name": "c"},
    ]
    made = record(row(), sites=sites)
    assert made.meta is not None
    assert made.meta["site_id"] == ("b",)
    assert shape(row(Partition="other"), sites=sites[:2]) == LeftOut("no site matches")


def test_conditions_on_components_scores_and_meta_are_kept() -> None:
    only = {"key": "Partition", "matches": "^batch$"}
    never = {"key": "Partition", "matches": "^gpu$"}
    made = record(
        row(),
        components=[
            component("A", only_if=never),
            component("B", only_if=only, scores=[
                {"name": "s", "value": 1, "only_if": never},
                {"name": "s", "value": 2, "only_if": only},
                {"name": "t", "value": 3},
            ]),
        ],
        meta=[
            {"name": "m", "key": "User", "key_type": "String", "only_if": never},
            {"name": "n", "key": "User", "key_type": "String", "only_if": only},
        ],
    )  # fmt: skip
    assert [(each.name, [(score.name, score.value) for score in each.scores]) for each in made.components] == [
        ("B", [("s", 2.0), ("t", 3.0)])
    ]
    assert made.meta is not None
    assert "m" not in made.meta
    assert made.meta["n"] == ("alice",)


def test_an_empty_column_is_the_empty_text_to_a_condition() -> None:
    made = record(row(Comment=""), components=[component(only_if={"key": "Comment", "matches": "^$"})])
    assert len(made.components) == 1


def test_defaults_stand_in_for_empty_and_unreadable_columns() -> None:
    made = record(
        row(Comment="odd"),
        components=[
            component("R", "MaxRSS", default_value=7),
            component("T", "Comment", key_type="Time", default_value=0),
        ],
        meta=[
            {"name": "w", "key": "MaxRSS", "default_value": 5},
            {"name": "v", "key": "Comment", "default_value": "x"},
        ],
    )
    assert [each.amount for each in made.components] == [7, 0]
    assert made.meta is not None
    assert (made.meta["w"], made.meta["v"]) == (("5",), ("x",))


def test_meta_of_every_type_is_printed_as_auditor_prints_it() -> None:
    rules = [
        {"name": "s", "key": "Comment", "key_type": "String"},
        {"name": "i", "key": "NCPUS"},
        {"name": "d", "key": "Start", "key_type": "DateTime"},
        {"name": "id", "key": "Partition", "key_type": "Id"},
        {"name": "m", "key": "ReqMem", "key_type": "IntegerMega"},
        {"name": "t", "key": "TotalCPU", "key_type": "Time"},
    ]
    made = record(row(Comment=" a|b\n", Partition="part(1)", TotalCPU="00:01.500"), meta=rules, time_unit="seconds")
    assert made.meta is not None
    assert {key: made.meta[key] for key in ("s", "i", "d", "id", "m", "t")} == {
        "s": (" a|b\n",),
        "i": ("4",),
        "d": ("2026-11-21 10:00:01 UTC",),
        "id": ("part",),
        "m": ("100",),
        "t": ("1",),
    }


def test_json_keys_become_meta_keys_and_cannot_forge_the_site() -> None:
    comment = "{'voms': '/atlas', 'site_id': 'mine', 'user_id': 'root', 'time_unit': 'days', 'empty': ''}"
    made = record(row(Comment=comment), meta=[{"name": "x", "key": "Comment", "key_type": "Json"}])
    assert made.meta == {
        "voms": ("/atlas",),
        "site_id": ("NOT_CONFIGURED",),
        "user_id": ("alice",),
        "group_id": ("physics",),
        "collector_type": ("slurm",),
        "time_unit": ("milliseconds",),
    }


@pytest.mark.parametrize(
    "comment", ["nonsense", "{'a': 1}", "{'" + "k" * 300 + "': 'v'}", "{'a': ' '}", '{"a": "\\u0000"}']
)
def test_what_a_user_writes_into_a_comment_cannot_take_the_job_out_of_the_account(comment: str) -> None:
    rules = [
        {"name": "x", "key": "Comment", "key_type": "Json"},
        {"name": "y", "key": "Comment", "key_type": "String", "key_allow_empty": True},
    ]
    made = record(row(Comment=comment), meta=rules)
    assert made.meta is not None
    assert not {"a", "k" * 300} & set(made.meta)


def test_an_empty_comment_is_left_out_where_that_is_allowed_and_refused_where_not() -> None:
    rule = {"name": "c", "key": "Comment", "key_type": "String"}
    made = record(row(), meta=[{**rule, "key_allow_empty": True}])
    assert made.meta is not None
    assert "c" not in made.meta
    assert "the meta c has no value" in refusal(row(), meta=[rule])


@pytest.mark.parametrize(
    ("table", "settings", "reason"),
    [
        (row(), {"components": [component(key="MaxRSS")]}, "the column MaxRSS is empty"),
        (row(Comment="12x"), {"components": [component(key="Comment")]}, "not a whole number"),
        (row(Comment="-3"), {"components": [component(key="Comment")]}, "is negative"),
        (row(), {"components": [component(key="User", key_type="String")]}, "which is no number"),
        (row(User=""), {}, "the column User is empty"),
        (row(Start="yesterday"), {}, "is not a date and time"),
        (row(Start="2026-11-21T11:00:00"), {}, "is before start_time"),
        (row(NCPUS="9" * 30), {}, "does not fit into 64 bits"),
    ],
)
def test_what_cannot_become_a_record_is_refused_with_its_reason(
    table: dict[str, str], settings: dict[str, Any], reason: str
) -> None:
    assert reason in refusal(table, **settings)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"State": "RUNNING", "End": "Unknown"}, "not ended"),
        ({"State": "PENDING", "Start": "Unknown", "End": "Unknown"}, "not ended"),
        ({"State": "CANCELLED by 0", "Start": "None"}, "never started"),
        ({"State": "CANCELLED by 0", "Start": "Unknown"}, "never started"),
        ({"State": "CANCELLED by 0", "Start": BASE["End"], "NodeList": "None assigned"}, "never started"),
    ],
)
def test_jobs_that_used_nothing_are_left_out(changes: dict[str, str], reason: str) -> None:
    assert shape(row(**changes)) == LeftOut(reason)


def test_a_regular_expression_that_runs_away_is_stopped() -> None:
    sites = [{"name": "s", "only_if": {"key": "Comment", "matches": "^(a+)+$"}}]
    made = shape(row(Comment="a" * 5000 + "b"), sites=sites)
    assert isinstance(made, Refused | LeftOut)


def test_rusts_end_of_text_is_understood() -> None:
    sites = [{"name": "s", "only_if": {"key": "Partition", "matches": r"\Abatch\z"}}]
    assert isinstance(shape(row(), sites=sites), Record)


@pytest.mark.parametrize(
    "wrong",
    [
        {"sites": [{"name": "s", "only_if": {"key": "Partition", "matches": "("}}]},
        {"sites": []},
        {"job_filter": {"status": ["finished"]}},
        {"job_filter": {"user": ["a,b"]}},
        {"components": [component(key="NCPUS,Comment")]},
        {"components": [component(key="NCPUS", key_type="Number")]},
        {"cluster": "a,b"},
        {"tls_config": {"use_tls": True, "client_cert_path": "a"}},
    ],
)
def test_wrong_settings_are_told_at_the_start(wrong: dict[str, Any]) -> None:
    with pytest.raises((msgspec.ValidationError, ValueError)):
        msgspec.convert(wrong, Settings)
