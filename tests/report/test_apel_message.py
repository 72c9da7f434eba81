"""Texts as they were recorded from AUDITOR's plugin, and what may never break a message."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobmeter.report.apel.message import Form, benchmarked, block, messages
from jobmeter.report.apel.receiver import Value, alike, fitted, written
from jobmeter.report.apel.rules import faults

NOW = datetime(2024, 4, 2, tzinfo=UTC)
SUMMARY = """\
APEL-normalised-summary-message: v0.4
Site: SITE_A
Month: 3
Year: 2024
GlobalUserName: /DC=x/CN=u
VO: atlas
VOGroup: atlas
VORole: Role=production
SubmitHost: gsiftp://arc1:2811/jobs
Infrastructure: grid
NodeCount: 1
Processors: 8
EarliestEndTime: 1709251200
LatestEndTime: 1710504001
WallDuration: 100801
CpuDuration: 36000
NormalisedWallDuration: {HEPscore23: 1854738}
NormalisedCpuDuration: {HEPscore23: 662400}
NumberOfJobs: 3
%%
"""
VALUES: dict[str, Value] = {
    "NumberOfJobs": 3,
    "Site": "SITE_A",
    "Month": 3,
    "Year": 2024,
    "GlobalUserName": "/DC=x/CN=u",
    "VO": "atlas",
    "VOGroup": "atlas",
    "VORole": "Role=production",
    "SubmitHost": "gsiftp://arc1:2811/jobs",
    "Infrastructure": "grid",
    "NodeCount": 1,
    "Processors": 8,
    "EarliestEndTime": 1709251200,
    "LatestEndTime": 1710504001,
    "WallDuration": 100801,
    "CpuDuration": 36000,
    "NormalisedWallDuration": benchmarked("HEPscore23", 1854738),
    "NormalisedCpuDuration": benchmarked("HEPscore23", 662400),
}


def test_a_summary_has_the_lines_that_the_newer_plugin_wrote() -> None:
    (message,) = messages(Form.SUMMARY, [block(Form.SUMMARY, VALUES)], 10_000)
    assert message.text == SUMMARY
    assert faults(message.text, NOW) == []


def test_an_absent_field_is_left_out_of_the_newer_summary_and_none_in_the_older() -> None:
    few: dict[str, Value] = {"Site": "S", "Month": 3, "Year": 2024}
    assert "VO" not in block(Form.SUMMARY, few)
    older = block(Form.OLD_SUMMARY, few)
    assert older.splitlines()[3:5] == ["GlobalUserName: None", "VO: None"]
    assert older.count("\n") == 18 + 1


def test_the_counts_that_summaries_are_checked_with() -> None:
    text = block(Form.SYNC, {"Site": "S", "NumberOfJobs": 4, "Month": 3, "Year": 2024})
    assert text == "Site: S\nSubmitHost: None\nNumberOfJobs: 4\nMonth: 3\nYear: 2024\n%%\n"


def test_a_field_that_the_form_does_not_have_is_a_mistake() -> None:
    with pytest.raises(KeyError, match="Queue"):
        block(Form.SUMMARY, {"Queue": "q"})


def test_blocks_are_divided_among_messages_and_none_is_cut() -> None:
    one = block(Form.SUMMARY, VALUES)
    found = messages(Form.SUMMARY, [one] * 7, len(one) * 3 + 50)
    assert [message.blocks for message in found] == [3, 3, 1]
    assert all(faults(message.text, NOW) == [] for message in found)
    assert [message.blocks for message in messages(Form.SUMMARY, [one] * 2, 10)] == [1, 1]
    assert messages(Form.SUMMARY, [], 10) == []


@pytest.mark.parametrize(
    ("given_text", "said"),
    [
        ("a\nSite: OTHER", "a\\0ASite: OTHER"),
        ("100%% sure", "100\\25\\25 sure"),
        ("%%%", "\\25\\25\\25"),
        ("50% of it", "50% of it"),
        ("Zoë", "Zo\\C3\\AB"),
        ("tab\there", "tab\\09here"),
    ],
)
def test_a_text_cannot_break_the_message(given_text: str, said: str) -> None:
    assert written(given_text) == said


@given(st.text(min_size=1))
def test_whatever_a_user_is_called_the_message_has_one_block_and_its_lines(name: str) -> None:
    (message,) = messages(Form.SUMMARY, [block(Form.SUMMARY, {**VALUES, "GlobalUserName": f"CN={name}"})], 10_000)
    assert faults(message.text, NOW) == []
    assert len(message.text.splitlines()) == len(SUMMARY.splitlines())
    assert message.text.replace("\n", "\r\n").encode("ascii").count(b"%%") == 1


def test_a_text_that_is_too_wide_is_cut_and_told_from_others() -> None:
    one, other = "u" * 300, "u" * 299 + "v"
    assert fitted("VO", "u" * 255) == "u" * 255
    assert len(fitted("VO", one)) == 255
    assert fitted("VO", one) != fitted("VO", other)
    assert len(fitted("Infrastructure", one)) == 20


@pytest.mark.parametrize("value", ["None", "NULL", "", "  ", None])
def test_texts_that_stand_for_nothing_are_alike(value: Value) -> None:
    assert alike(value) is None


def test_case_and_blanks_tell_nothing_apart() -> None:
    assert alike(" Atlas ") == alike("ATLAS") != alike("atlas1")
    assert alike(8) == 8
