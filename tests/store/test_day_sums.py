"""Sums of days are kept, and are never of the past."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy
from msgspec.structs import replace
from sqlalchemy import delete, select, update

from jobmeter.model.question import (
    Bound,
    Column,
    ComponentCondition,
    MetaCondition,
    Op,
    Question,
    Rule,
    Scope,
    ScoreBound,
    ScoreCondition,
)
from jobmeter.model.record import Record, RecordStop, microseconds
from jobmeter.model.total import (
    COUNT,
    AmountDimension,
    Extreme,
    Factor,
    MetaDimension,
    Product,
    Span,
    TimeDimension,
    TimeUnit,
    TotalQuestion,
)
from jobmeter.model.version import Edit
from jobmeter.store.connections import Connections
from jobmeter.store.day_sums import QUESTIONS_MAX, Days, Stretch, asked_of, days_of, question_of
from jobmeter.store.open import ArchivingStore
from jobmeter.store.tables import day_marks, day_questions, day_sums
from tests.given import ALL, record, second
from tests.plain_totals import plain_totals
from tests.store.archive.material import archived
from tests.store.plain import PlainStore

DAY = 86_400
EDIT = Edit("somebody", "some reason", second(0))


def cores(record_id: str, amount: int, stop: float | None, **changes: object) -> Record:
    start = 0.0 if stop is None else stop - 10
    made = record(record_id, start=start, stop=stop, meta={"voms": ("atlas",)}, components=(("Cores", amount),))
    return replace(made, **changes)


BOOKED = [cores(f"r{number}", 1 + number % 3, DAY * (number // 6) + 100 + number) for number in range(18)]


@pytest.fixture(autouse=True)
def few_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobmeter.store.day_sums.RECORDS_A_DAY", 0)


def asked(first: float, end: float) -> TotalQuestion:
    stretch = Bound(Op.GTE, microseconds(second(first))), Bound(Op.LT, microseconds(second(end)))
    measures = (COUNT, Product((Factor("Cores", ("HEPSPEC",)),), Span.RUNTIME))
    return TotalQuestion(Question(ALL, stop_time=stretch), (MetaDimension("voms"),), measures)


THREE_DAYS = asked(0, 3 * DAY)


@pytest.fixture
def kept(store: ArchivingStore) -> ArchivingStore:
    """A store that has folded its records and was asked once."""
    store.put(BOOKED)
    settle(store)
    store.totals(THREE_DAYS)
    return store


def settle(store: ArchivingStore) -> None:
    while store.fold():
        pass


def days_kept(database_url: str) -> list[int]:
    with closing(Connections(database_url)) as connections, connections.opened() as connection:
        return sorted(day for (day,) in connection.execute(select(day_sums.c.day)))


def test_a_question_is_answered_from_what_was_kept_of_its_days(kept: ArchivingStore, database_url: str) -> None:
    assert days_kept(database_url) == [0, 1, 2]
    with closing(Connections(database_url)) as connections, connections.opened() as connection:
        # A thousand records where the account has six: only a kept sum can say so.
        said = zlib.compress(b'[[["atlas"],[1000,1000,"2.5",1000]]]')
        connection.execute(update(day_sums).where(day_sums.c.day == 1).values(body=said))
    (total,) = kept.totals(THREE_DAYS)
    assert total.measured[0].value == 1012
    (half,) = kept.totals(asked(0.5 * DAY, 2.5 * DAY))
    assert half.measured[0].value == 1006  # the second half of day 0 has none, the first of day 2 has all six


def test_the_sums_that_are_kept_are_those_of_the_records(kept: ArchivingStore) -> None:
    assert kept.totals(THREE_DAYS) == plain_totals(BOOKED, THREE_DAYS)
    assert kept.totals(THREE_DAYS)[0].measured[1].value == Decimal(10 * 36 * 3 // 2)


Change = Callable[[ArchivingStore], list[Record]]


def _put(store: ArchivingStore) -> list[Record]:
    late = cores("late", 8, DAY + 500)
    store.put([late])
    return [*BOOKED, late]


def _correct(store: ArchivingStore) -> list[Record]:
    moved = cores("r0", 9, 2 * DAY + 500)
    store.correct(moved, EDIT)
    return [moved, *BOOKED[1:]]


def _rename(store: ArchivingStore) -> list[Record]:
    renamed = replace(BOOKED[7], meta={"voms": ("cms",)})
    store.correct(renamed, EDIT)
    return [*BOOKED[:7], renamed, *BOOKED[8:]]


def _amend(store: ArchivingStore) -> list[Record]:
    changed = replace(BOOKED[3], components=cores("r3", 64, 1).components)
    store.amend(["r3"], lambda _: changed, EDIT)
    return [*BOOKED[:3], changed, *BOOKED[4:]]


def _withdraw(store: ArchivingStore) -> list[Record]:
    store.withdraw("r17", EDIT)
    return BOOKED[:-1]


def _stop(store: ArchivingStore) -> list[Record]:
    store.put([cores("open", 2, None)])
    settle(store)
    store.totals(THREE_DAYS)
    store.stop([RecordStop("open", second(DAY + 7))])
    return [*BOOKED, replace(cores("open", 2, None), stop_time=second(DAY + 7))]


@pytest.mark.parametrize("change", [_put, _correct, _rename, _amend, _withdraw, _stop])
@pytest.mark.parametrize("folded", [False, True])
def test_a_change_is_in_the_next_answer(kept: ArchivingStore, change: Change, folded: bool) -> None:
    records = change(kept)
    if folded:
        settle(kept)
    for _ in range(2):
        assert kept.totals(THREE_DAYS) == plain_totals(records, THREE_DAYS)


def test_a_record_that_is_put_between_an_answer_and_what_is_kept_of_it_is_not_lost(
    store: ArchivingStore, database_url: str
) -> None:
    store.put(BOOKED[:12])
    store.totals(THREE_DAYS)
    assert days_kept(database_url) == []  # a day of which a record is pending changes when it is folded
    settle(store)
    store.totals(THREE_DAYS)
    assert days_kept(database_url) == [0, 1]  # there was nothing on day 2
    store.put(BOOKED[12:])
    settle(store)
    assert store.totals(THREE_DAYS) == plain_totals(BOOKED, THREE_DAYS)


def test_archived_records_stay_in_what_is_kept(store: ArchivingStore, database_url: str, tmp_path: Path) -> None:
    store.put(BOOKED)
    assert archived(store, tmp_path / "archive")
    for _ in range(2):
        assert store.totals(THREE_DAYS) == plain_totals(BOOKED, THREE_DAYS)
    assert days_kept(database_url) == [0, 1, 2]


def test_days_with_a_group_for_every_record_are_not_kept(store: ArchivingStore, database_url: str) -> None:
    store.put([replace(one, meta={"voms": (one.record_id,)}) for one in BOOKED])
    settle(store)
    assert len(store.totals(THREE_DAYS)) == 18
    assert days_kept(database_url) == []


def test_of_so_many_questions_only_are_sums_kept(kept: ArchivingStore, database_url: str) -> None:
    for number in range(QUESTIONS_MAX):
        kept.totals(replace(THREE_DAYS, group_by=(MetaDimension(f"k{number}"),)))
    with closing(Connections(database_url)) as connections, connections.opened() as connection:
        assert connection.execute(select(sqlalchemy.func.count()).select_from(day_questions)).scalar() == QUESTIONS_MAX
        held = connection.execute(select(day_sums.c.question).distinct()).fetchall()
    assert len(held) == QUESTIONS_MAX
    assert kept.totals(THREE_DAYS) == plain_totals(BOOKED, THREE_DAYS)


def test_without_an_end_every_day_behind_counts(kept: ArchivingStore) -> None:
    since = replace(THREE_DAYS, where=Question(ALL, stop_time=(Bound(Op.GTE, microseconds(second(DAY))),)))
    future = cores("future", 2, DAY * 10_000)
    kept.put([future])
    settle(kept)
    for _ in range(2):
        assert kept.totals(since) == plain_totals([*BOOKED[6:], future], since)


def test_few_records_a_day_are_read_at_once(
    kept: ArchivingStore, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobmeter.store.day_sums.RECORDS_A_DAY", 7)
    other = replace(THREE_DAYS, measures=(Product((Factor("Cores"),)),))
    assert kept.totals(other) == plain_totals(BOOKED, other)
    monkeypatch.setattr("jobmeter.store.day_sums.RECORDS_A_DAY", 6)
    assert len(days_kept(database_url)) == 3
    kept.totals(other)
    assert len(days_kept(database_url)) == 6


def write(database_url: str, *statements: sqlalchemy.Executable) -> None:
    with closing(Connections(database_url)) as connections, connections.opened() as connection:
        for statement in statements:
            connection.execute(statement)


A_WRONG_SHEET = update(day_sums).where(day_sums.c.day == 1).values(body=zlib.compress(b'[[["atlas"],[5,5,"2.5",5]]]'))


def test_a_sheet_that_is_not_its_records_is_told_and_made_anew(kept: ArchivingStore, database_url: str) -> None:
    assert kept.check_rollups() == []
    write(database_url, A_WRONG_SHEET)
    (fault,) = kept.check_rollups()
    assert "1970-01-02" in fault
    assert "voms" in fault
    kept.rebuild_rollups()
    settle(kept)
    assert kept.totals(THREE_DAYS) == plain_totals(BOOKED, THREE_DAYS)
    assert days_kept(database_url) == [0, 1, 2]
    assert kept.check_rollups() == []


def test_a_sheet_of_archived_records_is_checked(store: ArchivingStore, database_url: str, tmp_path: Path) -> None:
    store.put(BOOKED)
    assert archived(store, tmp_path / "archive")
    store.totals(THREE_DAYS)
    assert store.check_rollups() == []
    write(database_url, A_WRONG_SHEET)
    assert len(store.check_rollups()) == 1


def test_a_sheet_that_does_not_count_is_not_checked(kept: ArchivingStore, database_url: str) -> None:
    write(database_url, A_WRONG_SHEET)
    kept.put([cores("late", 8, DAY + 500)])
    assert kept.check_rollups() == []
    settle(kept)
    assert kept.check_rollups() == []


@pytest.mark.parametrize("body", [b"nothing", zlib.compress(b"[1]"), zlib.compress(b'[[["atlas"],[1,1,"x",1]]]')])
def test_a_sheet_that_cannot_be_read_is_made_anew(kept: ArchivingStore, database_url: str, body: bytes) -> None:
    write(database_url, update(day_sums).where(day_sums.c.day == 1).values(body=body))
    assert len(kept.check_rollups()) == 1
    assert kept.totals(THREE_DAYS) == plain_totals(BOOKED, THREE_DAYS)
    assert kept.check_rollups() == []


def test_a_day_without_a_mark_is_told(kept: ArchivingStore, database_url: str) -> None:
    write(database_url, delete(day_marks).where(day_marks.c.day == 2))
    (fault,) = kept.check_rollups()
    assert "1970-01-03" in fault
    kept.rebuild_rollups()
    settle(kept)
    assert kept.check_rollups() == []


def test_a_question_that_cannot_be_read_is_told(kept: ArchivingStore, database_url: str) -> None:
    write(database_url, update(day_questions).values(asked=b"?"))
    assert len(kept.check_rollups()) == 1


def narrowed(**conditions: object) -> TotalQuestion:
    return replace(THREE_DAYS, where=replace(THREE_DAYS.where, **conditions))


@pytest.mark.parametrize(
    "question",
    [
        narrowed(scope=Scope(((Rule("site", ("one",)), Rule("voms", ("atlas", "cms"))), (Rule("user", ("ann",)),)))),
        narrowed(start_time=(Bound(Op.GT, microseconds(second(DAY + 90))),)),
        narrowed(runtime=(Bound(Op.GT, 9), Bound(Op.LTE, 10))),
        narrowed(meta=(MetaCondition("site", ("one",), ("two",)), MetaCondition("voms", (), ("cms",)))),
        narrowed(components=(ComponentCondition("Cores", (Bound(Op.GTE, 2),)),)),
        narrowed(scores=(ScoreCondition("HEPSPEC", (ScoreBound(Op.LT, 11.5),)),)),
        replace(THREE_DAYS, group_by=(MetaDimension("site"), TimeDimension(TimeUnit.DAY), AmountDimension("Cores"))),
        replace(THREE_DAYS, measures=(Extreme(Column.STOP_TIME, latest=True), Product(span=Span.DURATION))),
    ],
)
def test_sums_of_every_question_are_checked_by_its_conditions(
    store: ArchivingStore, database_url: str, question: TotalQuestion
) -> None:
    sites: list[dict[str, tuple[str, ...]]] = [
        {"site": ("one",)},
        {"site": ("one", "two"), "user": ("ann",)},
        {"site_id": ("one",)},
        {},
    ]
    booked = [
        replace(one, record_id=f"{one.record_id}-{turn}", meta={"voms": ("atlas",), **site})
        for one in BOOKED
        for turn, site in enumerate(sites)
    ]
    plain = PlainStore()
    plain.put(booked)
    store.put(booked)
    settle(store)
    assert store.totals(question) == plain_totals(plain.answer(question.where), question)
    assert days_kept(database_url) == [0, 1, 2]
    assert store.check_rollups() == []


def test_a_question_is_kept_whole_but_for_its_days() -> None:
    question = narrowed(runtime=(Bound(Op.GT, 0),), meta=(MetaCondition("voms", ('a"b',)),))
    assert question_of(asked_of(question)) == replace(question, where=replace(question.where, stop_time=()))
    assert asked_of(narrowed(meta=(MetaCondition("\ud800"),))) == b""


US = DAY * 10**6


@pytest.mark.parametrize(
    ("bounds", "days", "edges"),
    [
        ([(Op.GTE, 0), (Op.LT, 2 * US)], Stretch(0, 2), ()),
        ([(Op.GT, 0), (Op.LTE, 2 * US)], Stretch(1, 2), (Stretch(1, US), Stretch(2 * US, 2 * US + 1))),
        ([(Op.GTE, -3 * US), (Op.GTE, -US - 1), (Op.LT, 0)], Stretch(-1, 0), (Stretch(-US - 1, -US),)),
        ([(Op.GTE, 5)], Stretch(1, None), (Stretch(5, US),)),
        ([(Op.LT, -5)], Stretch(None, -1), (Stretch(-US, -5),)),
        ([], None, ()),
        ([(Op.GTE, 0), (Op.LT, US - 1)], None, ()),
        ([(Op.EQUALS, 0)], None, ()),
    ],
)
def test_bounds_are_whole_days_and_what_stands_out(
    bounds: list[tuple[Op, int]], days: Stretch | None, edges: tuple[Stretch, ...]
) -> None:
    found = days_of(Bound(op, at_us) for op, at_us in bounds)
    assert found == (None if days is None else Days(days, edges))
