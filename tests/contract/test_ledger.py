"""What collectors reported beside what is stored, on both databases."""

from __future__ import annotations

from datetime import UTC, date, datetime

from msgspec.structs import replace

from jobmeter.contract import RecordStore
from jobmeter.model.collection import Collection, Cost, DayCount
from tests.given import record

DAY, NEXT = date(1970, 1, 1), date(1970, 1, 2)
REPORT = Collection(
    "slurm",
    "spool1",
    "1.0",
    "slurm",
    waiting=2,
    letters=1,
    days=(DayCount(DAY, records=6, refused=1, ignored=4, delivered=3, rejected=1),),
)


def test_a_day_adds_up(store: RecordStore) -> None:
    store.put([record(f"slurm-{number}") for number in range(3)])
    store.put([record("other-1"), record("slurm-late", stop=86_400), record("slurm-runs", stop=None)])
    store.ledger.keep(REPORT, 5)
    (line, late) = store.ledger.reconciled(DAY, date(1970, 2, 1))
    assert (line.source, line.counts.day) == ("slurm", DAY)
    assert (line.seen, line.stored, line.dead, line.counts.ignored, line.counts.waiting) == (11, 3, 2, 4, 2)
    assert line.gap == 0
    # A day that nobody reported, but that has records with this prefix.
    assert (late.counts.day, late.stored, late.gap) == (NEXT, 1, -1)


def test_what_is_gone_from_the_account_is_a_gap(store: RecordStore) -> None:
    store.put([record("slurm-0")])
    store.ledger.keep(REPORT, 5)
    (line,) = store.ledger.reconciled(DAY, NEXT)
    assert (line.stored, line.gap) == (1, 2)


def test_a_repeat_changes_nothing_and_a_later_report_counts(store: RecordStore) -> None:
    store.ledger.keep(REPORT, 5)
    store.ledger.keep(REPORT, 6)
    later = Collection("slurm", "spool1", "1.1", "slurm", days=(DayCount(DAY, records=7, delivered=7),))
    store.ledger.keep(later, 7)
    (line,) = store.ledger.reconciled(DAY, NEXT)
    assert line.counts == DayCount(DAY, records=7, delivered=7)
    (state,) = store.ledger.states()
    assert (state.version, state.waiting, state.reported_us) == ("1.1", 0, 7)


def test_what_a_collector_costs_is_kept_and_may_be_unknown(store: RecordStore) -> None:
    store.ledger.keep(replace(REPORT, cost=Cost(100.0, 2.5, 30_000_000)), 5)
    (state,) = store.ledger.states()
    assert state.cost == Cost(100.0, 2.5, 30_000_000)
    assert state.cost is not None
    assert state.cost.cpu_share == 0.025
    store.ledger.keep(REPORT, 6)
    (state,) = store.ledger.states()
    assert state.cost is None


def test_spools_of_one_source_are_added_up(store: RecordStore) -> None:
    for spool in ("a", "b"):
        day = DayCount(DAY, records=2, delivered=2)
        store.ledger.keep(Collection("slurm", spool, prefix="slurm", days=(day,)), 1)
    store.put([record(f"slurm-{number}") for number in range(4)])
    (line,) = store.ledger.reconciled(DAY, NEXT)
    assert (line.counts.records, line.stored, line.gap) == (4, 4, 0)
    assert [state.spool for state in store.ledger.states()] == ["a", "b"]


def test_where_the_account_cannot_tell_whose_records_they_are_the_delivered_count(store: RecordStore) -> None:
    for source in ("slurm", "slurm-epilog"):
        day = DayCount(DAY, records=2, again=1, delivered=3)
        store.ledger.keep(Collection(source, "a", prefix="slurm", days=(day,)), 1)
    store.ledger.keep(Collection("plain", "a", days=(DayCount(DAY, records=1),)), 1)
    found = store.ledger.reconciled(DAY, NEXT)
    assert [(line.source, line.stored, line.gap) for line in found] == [
        ("plain", None, 0),
        ("slurm", None, 0),
        ("slurm-epilog", None, 0),
    ]


def test_days_outside_are_left_out(store: RecordStore) -> None:
    now = datetime(2024, 3, 1, tzinfo=UTC).date()
    store.ledger.keep(Collection("s", "a", days=(DayCount(now, records=1),)), 1)
    assert store.ledger.reconciled(date(2024, 2, 1), now) == []
    assert len(store.ledger.reconciled(now, date(2024, 3, 2))) == 1
