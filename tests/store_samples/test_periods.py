"""Steps, rollups and how long things are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobmeter.settings.samples import DAY_NS
from jobmeter.store.samples.folder import listing
from tests.store_samples.given import JOB, SECOND, START, SetClock, asked, batch, column, opened, sample, seconds

FIRST = START // (3600 * SECOND) * 3600 * SECOND
"""A whole hour; samples of these tests begin with it."""
AHEAD = (FIRST - START) / SECOND


def rows(values: dict[float, tuple[float | int | None, float | int | None]], **more: object) -> list[object]:
    return [sample(AHEAD + second, pair, **more) for second, pair in values.items()]  # type: ignore[arg-type]


def begins(times: list[float]) -> list[float]:
    return [time - AHEAD for time in times]


def test_a_step_gives_means_extremes_rates_and_increases(tmp_path: Path) -> None:
    with opened(tmp_path) as writer:
        writer.write(batch(*rows({second: (second * 2, 100 + second % 10) for second in range(30)})))  # type: ignore[arg-type]
        (table,) = asked(tmp_path, step_ns=10 * SECOND)
    assert begins(seconds(table)) == [0, 10, 20]
    assert column(table, "memory", "mean") == [104.5, 104.5, 104.5]
    assert column(table, "memory", "min") == [100, 100, 100]
    assert column(table, "memory", "max") == [109, 109, 109]
    assert column(table, "cpu", "rate") == [2, 2, 2]
    assert column(table, "cpu", "increase") == [18, 20, 20], "the growth since the period before belongs to a period"
    assert table.resets == 0


def test_a_gap_is_not_zero_and_zero_is_no_gap(tmp_path: Path) -> None:
    idle = dict.fromkeys(range(10), (5, 0))
    later = {second: (1000 + second, 1) for second in range(100, 110)}
    with opened(tmp_path) as writer:
        writer.write(batch(*rows(idle | later)))  # type: ignore[arg-type]
        (table,) = asked(tmp_path, step_ns=10 * SECOND)
    assert begins(seconds(table)) == [0, 100]
    assert column(table, "cpu", "rate") == [0, 1], "nobody knows when in the gap it grew"


def test_a_value_that_is_missing_is_none_and_disturbs_no_other(tmp_path: Path) -> None:
    given = {second: (second if second % 2 else None, None if second < 10 else 7) for second in range(20)}
    with opened(tmp_path) as writer:
        writer.write(batch(*rows(given)))  # type: ignore[arg-type]
        (table,) = asked(tmp_path, step_ns=10 * SECOND)
    assert column(table, "memory", "mean") == [None, 7]
    assert column(table, "cpu", "increase") == [8, 10]


def test_a_counter_that_begins_anew_is_counted_from_zero(tmp_path: Path) -> None:
    with opened(tmp_path) as writer:
        writer.write(batch(*rows({0: (100, 1), 1: (110, 1), 2: (3, 1), 3: (5, 1)})))  # type: ignore[arg-type]
        (table,) = asked(tmp_path, step_ns=10 * SECOND)
    assert column(table, "cpu", "increase") == [10 + 3 + 2]
    assert table.resets == 1


def test_a_counter_that_says_when_it_began_tells_a_new_beginning_from_a_clock_set_back(tmp_path: Path) -> None:
    with opened(tmp_path) as writer:
        writer.write(batch(*rows({0: (100, 1), 1: (90, 1), 2: (110, 1)}, since_ns=1)))  # type: ignore[arg-type]
        writer.write(batch(*rows({3: (200, 1)}, since_ns=2)))  # type: ignore[arg-type]
        (table,) = asked(tmp_path, step_ns=10 * SECOND)
    assert table.resets == 1
    assert column(table, "cpu", "increase") == [0 + 20 + 200]


@pytest.mark.parametrize("step", [60, 120, 3600, 7200])
def test_rollups_answer_as_the_samples_do(tmp_path: Path, step: int) -> None:
    """Six hours in segments that do not end with a minute, among them a restart of the counter and a gap."""
    given = {
        second: ((second if second < 9000 else second - 9000) * 3, 50 + second % 61)
        for second in range(0, 6 * 3600, 7)
        if not 14_000 < second < 15_000
    }
    everything = list(given.items())
    with opened(tmp_path / "plain") as writer:
        writer.write(batch(*rows(given)))  # type: ignore[arg-type]
    with opened(tmp_path / "rolled") as writer:
        for start in range(0, len(everything), 211):
            writer.write(batch(*rows(dict(everything[start : start + 211]))))  # type: ignore[arg-type]
            writer.reopen()
        writer.tidy()
    assert listing(tmp_path / "rolled").tiers[60]
    (plain,) = asked(tmp_path / "plain", step_ns=step * SECOND)
    (rolled,) = asked(tmp_path / "rolled", step_ns=step * SECOND)
    assert rolled.times_ns == plain.times_ns
    assert rolled.resets == plain.resets == 1
    for ours, theirs in zip(rolled.columns, plain.columns, strict=True):
        assert (ours.metric, ours.form) == (theirs.metric, theirs.form)
        assert list(ours.values) == pytest.approx(list(theirs.values)), ours.form


def test_samples_go_when_they_are_old_and_their_hours_stay(tmp_path: Path) -> None:
    clock = SetClock(FIRST)
    with opened(tmp_path, clock, raw_days=1, minute_days=10, hour_days=100) as writer:
        writer.write(batch(*rows({second: (second, 5) for second in range(0, 7200, 5)})))  # type: ignore[arg-type]
        writer.reopen()
        writer.tidy()
        assert len(asked(tmp_path)[0].times_ns) == 1440
        clock.time_ns = FIRST + 2 * DAY_NS
        writer.tidy()
        assert asked(tmp_path) == []
        assert len(asked(tmp_path, step_ns=60 * SECOND)[0].times_ns) == 120
        clock.time_ns = FIRST + 11 * DAY_NS
        writer.tidy()
        assert asked(tmp_path, step_ns=60 * SECOND) == []
        (hours,) = asked(tmp_path, job=JOB.job, step_ns=3600 * SECOND)
        assert column(hours, "memory", "mean") == [5, 5]
        assert column(hours, "cpu", "rate") == [1, 1]
        clock.time_ns = FIRST + 101 * DAY_NS
        writer.tidy()
        assert list((tmp_path / "3600s").iterdir()) == []
        writer.write(batch(sample(0)))
        assert len(asked(tmp_path)) == 1, "numbers of logs are never used again"


def test_the_oldest_go_first_when_there_is_too_much(tmp_path: Path) -> None:
    clock = SetClock(FIRST)
    with opened(tmp_path, clock, max_bytes=2**20) as writer:
        for part in range(5):
            noise = {part * 40_000 + n: (hash((n, part)) % 2**62, n * 1.1e-7) for n in range(40_000)}
            writer.write(batch(*rows(noise)))  # type: ignore[arg-type]
            writer.reopen()
        writer.tidy()
        (table,) = asked(tmp_path)
    size = sum(path.stat().st_size for path in tmp_path.rglob("*.jms"))
    assert size <= 2**20
    assert begins(seconds(table))[-1] == 199_999
    assert begins(seconds(table))[0] >= 40_000
