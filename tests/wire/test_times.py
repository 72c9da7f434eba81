"""Date-times by chrono's relaxed RFC 3339; the lists were compared with the real client, which uses that library."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobmeter.wire.auditor import parse_time

MIDNIGHT = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-01T00:00:00Z",
        "2024-01-01t00:00:00z",
        "2024-1-1T0:0:0Z",
        "2024-01-01 00:00:00 UTC",
        "2024-01-01  00:00:00utc",
        "2024-01-01 \t00:00:00Z",
        "2024-01-01T 00:00:00Z",
        "2024 - 01 - 01 00 : 00 : 00 Z",
        " 2024-01-01T00:00:00Z ",
        "\u00a02024-01-01T00:00:00\u2003Z\n",
        "2024-01-01T00:00:00 uTc ",
        "2024-01-01T00:00:00.0Z",
        "2024-01-01T00:00:00.00000099999999999999Z",
        "2024-01-01T02:00:00+02:00",
        "2024-01-01T02:00:00 +0200",
        "2024-01-01T02:00:00+02 00",
        "2024-01-01T02:00:00+02 : 00",
        "2023-12-31T22:00:00-02:00",
        "2023-12-31T22:00:00\u221202:00",
        "2024-01-01T00:00:00-00:00",
        "2024-01-01T23:59:00+23:59",
        "2023-12-31T23:59:60Z",
        "+2024-01-01T00:00:00Z",
        "+02024-01-01T00:00:00Z",
    ],
)
def test_one_moment_has_many_spellings(text: str) -> None:
    assert parse_time(text) == MIDNIGHT
    assert parse_time(text).tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2024-01-01",
        "2024-01-01T00:00:00",
        "2024-01-01T00:00Z",
        "2024-01-01T00:00:00+02",
        "2024-01-01T00:00:00+2:00",
        "2024-01-01T00:00:00+02:0",
        "2024-01-01T00:00:00+ 02:00",
        "2024-01-01T00:00:00 00:00",
        "2024-01-01T00:00:00+24:00",
        "2024-01-01T00:00:00+23:60",
        "2024-01-01T00:00:00,5Z",
        "2024-01-01T00:00:00.Z",
        "2024-01-01T00:00:00 .5Z",
        "2024-01-01T00:00:00. 5Z",
        "2024-01-01T24:00:00Z",
        "2024-01-01T00:60:00Z",
        "2024-01-01T00:00:61Z",
        "2024-01-01T000:00:00Z",
        "2024-02-30T00:00:00Z",
        "2023-02-29T00:00:00Z",
        "2024-0-01T00:00:00Z",
        "2024-001-01T00:00:00Z",
        "2024-01-01 T00:00:00Z",
        "2024-01-01\t00:00:00Z",
        "2024-01-01TT00:00:00Z",
        "2024-01-01T00:00:00ZZ",
        "2024-01-01T00:00:00Z+00:00",
        "2024-01-01T00:00:00GMT",
        "20240101T000000Z",
        "24-01-01T00:00:00Z",
        "02024-01-01T00:00:00Z",
        "12345-01-01T00:00:00Z",
        "+12345-01-01T00:00:00Z",
        "-0001-01-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "202\u0664-01-01T00:00:00Z",
        "2024-01-01T00:00:00+\u0660\u0662:00",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:60Z",
        "1704067200",
    ],
)
def test_anything_else_is_no_date_and_time(text: str) -> None:
    with pytest.raises(ValueError, match="is not a date and time"):
        parse_time(text)


def test_what_is_finer_than_a_microsecond_is_cut_off() -> None:
    assert parse_time("2024-01-01T00:00:00.1234567899999Z") == MIDNIGHT + timedelta(microseconds=123_456)
    assert parse_time("2024-01-01T00:00:59.9999999Z") == MIDNIGHT + timedelta(seconds=59, microseconds=999_999)


def test_a_leap_second_is_the_second_after() -> None:
    assert parse_time("2016-12-31T23:59:60.5Z") == datetime(2017, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC)


@given(st.datetimes(), st.integers(-1439, 1439), st.sampled_from("Tt "))
def test_every_iso_moment_is_read_exactly(naive: datetime, offset_minutes: int, between: str) -> None:
    moment = naive.replace(tzinfo=timezone(timedelta(minutes=offset_minutes)))
    text = moment.isoformat().replace("T", between)
    try:
        expected = moment.astimezone(UTC)
    except OverflowError:
        with pytest.raises(ValueError, match="that can be stored"):
            parse_time(text)
    else:
        assert parse_time(text) == expected


@given(st.text(max_size=60) | st.from_regex(r"[0-9+:. TZ-]{0,40}", fullmatch=True))
def test_any_text_is_a_moment_or_a_value_error(text: str) -> None:
    try:
        assert parse_time(text).tzinfo is UTC
    except ValueError as fault:
        assert len(str(fault)) < 600


def test_a_very_long_text_is_refused_soon() -> None:
    for text in (" " * 10**6, "2024-01-01T00:00:00." + "9" * 10**6, "2024-01-01 " + " " * 10**6 + "x"):
        with pytest.raises(ValueError, match="is not a date"):
            parse_time(text)
