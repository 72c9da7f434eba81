"""Cron expressions with seconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from jobmeter.model.cron import parse_cron


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]


NOW = datetime(2025, 1, 31, 12, 30, 15, tzinfo=UTC)  # a Friday


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("* * * * * *", utc(2025, 1, 31, 12, 30, 16)),
        ("0 0 3 * * *", utc(2025, 2, 1, 3)),
        ("0 0 2 1 * ?", utc(2025, 2, 1, 2)),
        ("*/20 * * * * *", utc(2025, 1, 31, 12, 30, 20)),
        ("0 10-40/15 * * * *", utc(2025, 1, 31, 12, 40)),
        ("0 0/15 * * * *", utc(2025, 1, 31, 12, 45)),
        ("30 30 12 31 1 *", utc(2025, 1, 31, 12, 30, 30)),
        ("15 30 12 31 1 *", utc(2026, 1, 31, 12, 30, 15)),
        ("0 0 0 * * MON", utc(2025, 2, 3)),
        ("0 0 0 * * 7", utc(2025, 2, 2)),
        ("0 0 0 * * 0", utc(2025, 2, 2)),
        ("0 0 0 * * mon-fri", utc(2025, 2, 3)),
        ("0 0 0 10 * MON", utc(2025, 2, 3)),
        ("0 0 0 2 * MON", utc(2025, 2, 2)),
        ("0 0 0 29 FEB *", utc(2028, 2, 29)),
        ("5,10 0 0 1 JAN,JUL *", utc(2025, 7, 1, 0, 0, 5)),
        ("59 59 23 31 12 *", utc(2025, 12, 31, 23, 59, 59)),
    ],
)
def test_the_next_instant_follows(text: str, expected: datetime) -> None:
    assert parse_cron(text).after(NOW) == expected


def test_any_zone_is_taken_as_utc() -> None:
    there = NOW.astimezone(timezone(timedelta(hours=9)))
    assert parse_cron("0 0 13 * * *").after(there) == datetime(2025, 1, 31, 13, tzinfo=UTC)


def test_what_never_comes_is_told() -> None:
    assert parse_cron("0 0 0 31 2 *").after(NOW) is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("0 3 1 * *", "5 fields"),
        ("60 * * * * *", "second '60'"),
        ("* * 24 * * *", "hour '24'"),
        ("* * * 0 * *", "day of the month"),
        ("* * * * 13 *", "month '13'"),
        ("* * * * * 8", "day of the week"),
        ("*/0 * * * * *", "second '0'"),
        ("5-1 * * * * *", "ends before it begins"),
        ("x * * * * *", "second 'x'"),
        ("1,, * * * * *", "second ''"),
        ("-1 * * * * *", "second ''"),
        ("٣ * * * * *", "second"),
        ("", "0 fields"),
    ],
)
def test_what_is_not_understood_is_told_with_its_field(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parse_cron(text)
