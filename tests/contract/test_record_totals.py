"""Totals of the record store, over both databases: every promise of the contract, by example."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from jobmeter.contract import RecordStore
from jobmeter.model.question import Column, MetaCondition, Op, Question, Rule, Scope, ScoreBound, ScoreCondition
from jobmeter.model.record import AMOUNT_MAX, Component, Record, Score
from jobmeter.model.total import (
    COUNT,
    AmountDimension,
    Dimension,
    Extreme,
    Factor,
    FieldDimension,
    Measure,
    MetaDimension,
    Product,
    Span,
    TimeDimension,
    TimeUnit,
    Total,
    TotalQuestion,
)
from tests.given import ALL, record

SITE = MetaDimension("site_id")
RUNTIME = Product(span=Span.RUNTIME)


def asked(
    store: RecordStore, *group_by: Dimension, measures: tuple[Measure, ...] = (COUNT,), **where: object
) -> list[Total]:
    """The totals of the records that fulfil `where`."""
    return store.totals(TotalQuestion(Question(ALL, **where), group_by, measures))  # type: ignore[arg-type]


def values(totals: list[Total]) -> dict[object, object]:
    """The first measure by key."""
    return {total.key: total.measured[0].value for total in totals}


def with_cores(record_id: str, *components: Component, stop: float | None = 10, **meta: Any) -> Record:
    return replace(record(record_id, stop=stop, meta=meta), components=components)


def test_an_empty_store_has_no_groups(store: RecordStore) -> None:
    assert asked(store) == []
    assert asked(store, SITE, TimeDimension(TimeUnit.MONTH)) == []


def test_keys_that_look_alike_when_joined_are_different_groups(store: RecordStore) -> None:
    store.put([record("1", meta={"a": ("1",), "b": ("11",)}), record("2", meta={"a": ("11",), "b": ("1",)})])
    assert values(asked(store, MetaDimension("a"), MetaDimension("b"))) == {("1", "11"): 1, ("11", "1"): 1}


def test_a_record_without_the_key_is_a_group_of_its_own_and_comes_last(store: RecordStore) -> None:
    store.put([record("1", meta=None), record("2", meta={"site_id": ()}), record("3", meta={"site_id": ("z", "a")})])
    assert [(total.key, total.measured[0].value) for total in asked(store, SITE)] == [(("z",), 1), ((None,), 2)]


@pytest.mark.parametrize(
    ("unit", "text"),
    [(TimeUnit.DAY, "1969-12-31"), (TimeUnit.WEEK, "1970-W01"), (TimeUnit.MONTH, "1969-12"), (TimeUnit.YEAR, "1969")],
)
def test_time_is_cut_in_utc_also_before_1970(store: RecordStore, unit: TimeUnit, text: str) -> None:
    store.put([record("1", start=-20, stop=-0.000001), record("2", stop=None)])
    assert values(asked(store, TimeDimension(unit))) == {(text,): 1, (None,): 1}


def test_sums_beyond_64_bits_are_exact(store: RecordStore) -> None:
    store.put([with_cores(str(n), Component("big", AMOUNT_MAX, ()), stop=1_000_000) for n in range(3)])
    product = Product((Factor("big"),), Span.RUNTIME)
    measures = (product, Product((Factor("big"),)), Product((Factor("big"), Factor("big"))))
    (total,) = asked(store, measures=measures)
    assert [each.value for each in total.measured] == [
        3 * AMOUNT_MAX * 1_000_000,
        3 * AMOUNT_MAX,
        3 * AMOUNT_MAX**2,
    ]


def test_runtimes_are_whole_seconds_and_durations_keep_their_microseconds(store: RecordStore) -> None:
    store.put([record(str(n), stop=1.999999) for n in range(3)])
    (total,) = asked(store, measures=(RUNTIME, Product(span=Span.DURATION)))
    assert [each.value for each in total.measured] == [3, Decimal("5.999997")]


def test_scores_are_multiplied_as_decimals(store: RecordStore) -> None:
    part = Component("Cores", 3, (Score("HEPSPEC", 0.1), Score("HEPSPEC", 9.0)))
    store.put([with_cores(str(n), part) for n in range(3)])
    product = Product((Factor("Cores", ("HEPSPEC",)),), Span.RUNTIME)
    assert values(asked(store, measures=(product,))) == {(): Decimal("9")}


def test_what_a_record_lacks_adds_nothing_and_is_not_counted(store: RecordStore) -> None:
    store.put(
        [
            with_cores("1", Component("Cores", 2, (Score("S", 1.0),)), site_id=("a",)),
            with_cores("2", Component("Cores", 4, ()), site_id=("a",)),
            with_cores("3", Component("Cores", 8, (Score("S", 1.0),)), stop=None, site_id=("a",)),
            with_cores("4", site_id=("b",)),
        ]
    )
    measures = (COUNT, Product((Factor("Cores"),)), Product((Factor("Cores", ("S",)),), Span.RUNTIME))
    totals = asked(store, SITE, measures=measures)
    assert [(t.key[0], [(m.value, m.counted) for m in t.measured]) for t in totals] == [
        ("a", [(3, 3), (14, 3), (Decimal(20), 1)]),
        ("b", [(1, 1), (None, 0), (None, 0)]),
    ]


def test_components_of_one_name_are_terms_of_their_own(store: RecordStore) -> None:
    store.put([with_cores("1", Component("GPU", 1, (Score("w", 2.0),)), Component("GPU", 3, (Score("w", 5.0),)))])
    (total,) = asked(store, measures=(Product((Factor("GPU", ("w",)),)),))
    assert (total.measured[0].value, total.measured[0].counted) == (Decimal(17), 2)


def test_earliest_and_latest_times(store: RecordStore) -> None:
    store.put([record("1", start=1, stop=9), record("2", start=2, stop=None), record("3", start=3, stop=5)])
    ends = [Extreme(column, latest) for column in (Column.START_TIME, Column.STOP_TIME) for latest in (False, True)]
    (total,) = asked(store, measures=tuple(ends))
    assert [each.value for each in total.measured] == [1_000_000, 3_000_000, 5_000_000, 9_000_000]


def test_groups_by_amounts_and_fields(store: RecordStore) -> None:
    store.put([with_cores("1", Component("Cores", 4, ())), with_cores("2", Component("Cores", AMOUNT_MAX, ()), stop=3)])
    dimensions = (AmountDimension("Cores"), FieldDimension(Column.RUNTIME), FieldDimension(Column.RECORD_ID))
    assert values(asked(store, *dimensions)) == {(4, 10, "1"): 1, (AMOUNT_MAX, 3, "2"): 1}


def test_names_that_a_statement_could_trip_over(store: RecordStore) -> None:
    for number, name in enumerate(["'", '"', "\\", "a.b", "$[0]", "%s", "ä\u0301"]):
        store.put([with_cores(f"{number}", Component(name, 7, (Score(name, 2.0),)), stop=10, **{name: (name,)})])
        product = Product((Factor(name, (name,)),))
        totals = asked(store, MetaDimension(name), measures=(product,), record_id=f"{number}")
        assert values(totals) == {(name,): Decimal(14)}
    assert values(asked(store, MetaDimension("\0"), measures=(Product((Factor("\0", ("\ud800",)),)),))) == {
        (None,): None
    }


def test_the_filter_and_the_scope_hold(store: RecordStore) -> None:
    store.put(
        [
            with_cores("1", Component("Cores", 1, (Score("S", 10.5),)), site_id=("a",)),
            with_cores("2", Component("Cores", 1, (Score("S", 10.25),)), site_id=("b",)),
            with_cores("3", Component("Cores", 1, ()), site_id=("c",)),
        ]
    )
    found = asked(store, SITE, scores=(ScoreCondition("S", (ScoreBound(Op.GT, 10.25),)),))
    assert values(found) == {("a",): 1}
    assert values(asked(store, SITE, meta=(MetaCondition("site_id", ("b",)),))) == {("b",): 1}
    scope = Scope(((Rule("site_id", ("a", "c")),),))
    assert values(store.totals(TotalQuestion(Question(scope), (SITE,)))) == {("a",): 1, ("c",): 1}
    assert store.totals(TotalQuestion(Question(Scope(())), ())) == []
