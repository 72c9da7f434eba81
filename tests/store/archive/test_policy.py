"""Which months are archived."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from jobmeter.model.record import from_microseconds, microseconds
from jobmeter.store.archive.policy import Month, cutoff_us


def us(*parts: int) -> int:
    return microseconds(datetime(*parts, tzinfo=UTC))  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    ("now", "months", "cutoff"),
    [
        (datetime(2025, 11, 15, tzinfo=UTC), 1, "2025-10-01"),
        (datetime(2025, 11, 1, tzinfo=UTC), 0, "2025-11-01"),
        (datetime(2025, 1, 31, 23, 59, 59, tzinfo=UTC), 1, "2024-12-01"),
        (datetime(2025, 1, 1, tzinfo=UTC), 13, "2023-12-01"),
        (datetime(2025, 1, 1, tzinfo=UTC), 1200, "1925-01-01"),
        (datetime(3, 1, 1, tzinfo=UTC), 1200, "0001-01-01"),
    ],
)
def test_whole_months_stay(now: datetime, months: int, cutoff: str) -> None:
    assert from_microseconds(cutoff_us(now, months)).isoformat()[:10] == cutoff


@pytest.mark.parametrize(
    ("moment", "month"),
    [
        (us(2024, 2, 29, 23, 59, 59, 999999), "2024-02"),
        (us(2024, 3, 1), "2024-03"),
        (-1, "1969-12"),
        (us(1, 1, 1), "0001-01"),
        (us(9999, 12, 31, 23, 59, 59, 999999), "9999-12"),
    ],
)
def test_a_moment_lies_within_its_month(moment: int, month: str) -> None:
    found = Month.of(moment)
    assert str(found) == month
    assert found.first_us <= moment <= found.last_us
    if month != "9999-12":
        assert Month.of(found.last_us + 1) > found
