"""Sessions, waits and space."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobmeter.model.facility import Seen, Session, Sight
from jobmeter.query.facility import Unit, quantile, sessions, space, spans, waits

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def test_sightings_without_a_gap_are_one_session() -> None:
    seen = [Seen("n1", at(minute), ("alice", "alice")) for minute in (0, 5, 10, 60, 65)]
    seen += [Seen("n2", at(65), ("alice", "bob"))]
    assert sessions(seen) == [
        Session("alice", "n1", at(0), at(10)),
        Session("alice", "n1", at(60), at(65)),
        Session("alice", "n2", at(65), at(65)),
        Session("bob", "n2", at(65), at(65)),
    ]


def test_waits_are_from_the_first_sight_waiting_to_the_first_started() -> None:
    sights = [
        Sight("1", at(0), at(10)),
        Sight("2", at(0), at(30)),
        Sight("3", None, at(5)),
        Sight("4", at(3), None),
        Sight("5", None, None),
    ]
    found = waits(sights)
    assert (found.jobs, found.still_waiting) == (3, 1)
    assert (found.p50_seconds, found.p90_seconds, found.longest_seconds) == (600, 1800, 1800)
    assert waits([]).p50_seconds is None


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1))
def test_a_quantile_is_the_smallest_value_that_enough_do_not_exceed(values: list[float], part: float) -> None:
    ordered = sorted(values)
    found = quantile(ordered, part)
    assert found is not None
    assert sum(value <= found for value in ordered) >= part * len(ordered) - 1e-9
    assert sum(value < found for value in ordered) < part * len(ordered) + 1e-9


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("day", [(date(2026, 2, 28), date(2026, 3, 1)), (date(2026, 3, 1), date(2026, 3, 2))]),
        ("week", [(date(2026, 2, 23), date(2026, 3, 2))]),
        ("month", [(date(2026, 2, 1), date(2026, 3, 1)), (date(2026, 3, 1), date(2026, 4, 1))]),
    ],
)
def test_spans_hold_the_days(unit: Unit, expected: list[tuple[date, date]]) -> None:
    assert list(spans(date(2026, 2, 28), date(2026, 3, 1), unit)) == expected


def test_space_of_a_server_counts_once_and_local_disks_each() -> None:
    sizes = {"total": 100, "used": 40, "free": 60}
    disks = [
        {"login_node": "n1", "mount": "/home", "device": "nfs:/home", **sizes},
        {"login_node": "n2", "mount": "/home", "device": "nfs:/home", **sizes},
        {"login_node": "n1", "mount": "/scratch", "device": "vda", **sizes},
        {"login_node": "n2", "mount": "/scratch", **sizes},
    ]
    assert space(disks) == {"total": 300, "used": 120, "free": 180}
