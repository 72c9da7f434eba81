from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobmeter.model.record import (
    NAME_MAX_CODE_POINTS,
    Component,
    Record,
    Score,
    from_microseconds,
    microseconds,
    name_fault,
    record_fault,
    shown,
)

START = datetime(2021, 12, 6, 16, 29, 43, tzinfo=UTC)
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466"


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "a" * 256,
        "e\u0301" * 256,
        FAMILY,
        FAMILY * 256,
        "\U0001f1e9\U0001f1ea" * 256,
        '/()"<>\\{}',
        " a ",
        "a\nb",
        "\u200b",
    ],
)
def test_a_name_of_at_most_256_graphemes_may_be_stored(name: str) -> None:
    assert name_fault(name) is None


@pytest.mark.parametrize("name", ["a" * 257, "e\u0301" * 256 + "a", FAMILY * 257, "\U0001f1e9\U0001f1ea" * 257])
def test_a_name_of_257_graphemes_may_not(name: str) -> None:
    assert name_fault(name) == "has 257 characters, 256 are allowed"


@pytest.mark.parametrize("name", ["", " ", "\t\n", "\u00a0", "\u2003\u3000"])
def test_a_name_needs_a_visible_character(name: str) -> None:
    assert name_fault(name) == "is blank"


def test_a_name_holds_no_nul() -> None:
    assert name_fault("a\0") == "contains the character NUL"
    assert name_fault("a" * 300 + "\0") == "contains the character NUL"


@pytest.mark.parametrize("name", ["\ud800", "caf\udce9", "a" * 300 + "\udfff"])
def test_a_name_is_text_that_can_be_encoded(name: str) -> None:
    assert name_fault(name) == "contains a lone surrogate, which is no character"


def test_a_single_grapheme_of_thousands_of_marks_is_no_name() -> None:
    assert name_fault("e" + "\u0301" * (NAME_MAX_CODE_POINTS - 1)) is None
    assert name_fault("e" + "\u0301" * NAME_MAX_CODE_POINTS) == "has 4097 code points, 4096 are allowed"


@given(st.text(st.characters(exclude_categories=()), max_size=300))
def test_every_name_without_a_fault_can_be_encoded(name: str) -> None:
    if name_fault(name) is None:
        assert name.encode().decode() == name
        assert name.strip()
        assert "\0" not in name


@pytest.mark.parametrize(
    ("microseconds_later", "seconds"),
    [(0, 0), (999_999, 0), (1_000_000, 1), (5_999_999, 5), (-1, 0), (-999_999, 0), (-5_000_001, -5), (-5_999_999, -5)],
)
def test_the_runtime_is_cut_towards_zero(microseconds_later: int, seconds: int) -> None:
    stop = START + timedelta(microseconds=microseconds_later)
    assert Record("r", (), START, stop_time=stop).runtime_seconds == seconds


def test_a_running_job_has_no_runtime() -> None:
    assert Record("r", (), START).runtime_seconds is None


def test_the_runtime_counts_across_zones_and_leap_years() -> None:
    start = datetime(2024, 2, 28, 23, 0, tzinfo=timezone(timedelta(hours=-2)))
    assert Record("r", (), start, stop_time=datetime(2024, 3, 1, 1, tzinfo=UTC)).runtime_seconds == 86400


@given(st.datetimes(timezones=st.timezones()))
def test_microseconds_are_exact_for_every_moment(moment: datetime) -> None:
    try:
        expected = moment.astimezone(UTC)
    except OverflowError:
        return
    assert from_microseconds(microseconds(moment)) == expected


def test_microseconds_of_the_first_and_the_last_moment() -> None:
    for moment in (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)):
        assert from_microseconds(microseconds(moment)) == moment


@pytest.mark.parametrize(
    ("record", "fault"),
    [
        (Record(" ", (), START), ("record_id", "is blank")),
        (Record("r", (), START, meta={"": ()}), ("meta['']", "the key is blank")),
        (Record("r", (), START, meta={"a": ("x", "")}), ("meta['a'][1]", "is blank")),
        (Record("r", (Component("", 1, ()),), START), ("components[0].name", "is blank")),
        (
            Record("r", (Component("c", 1, (Score("s", 1.0), Score("\0", 1.0))),), START),
            ("components[0].scores[1].name", "contains the character NUL"),
        ),
        (Record("r", (), START, stop_time=START - timedelta(microseconds=1)), ("stop_time", "is before start_time")),
    ],
)
def test_a_fault_names_its_field_and_reason(record: Record, fault: tuple[str, str]) -> None:
    assert record_fault(record) == fault


def test_a_job_may_stop_when_it_starts() -> None:
    assert record_fault(Record("r", (), START, stop_time=START)) is None


def test_meta_values_may_repeat_and_lists_be_empty() -> None:
    assert record_fault(Record("r", (), START, meta={"a": (), "b": ("x", "x")})) is None


def test_a_long_name_is_cut_in_messages() -> None:
    assert shown("a" * 64) == repr("a" * 64)
    assert shown("a" * 65) == repr("a" * 64) + "..."
    assert "\n" not in shown("a\nb")
