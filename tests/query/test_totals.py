"""The language of totals: what is grouped by, what is summed, and that every question can be written and read again."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobmeter.model.question import Column, Op, Question, Scope, ScoreBound, ScoreCondition
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
    TotalQuestion,
)
from jobmeter.query.build import total_query_string
from jobmeter.query.parse import BadQuery
from jobmeter.query.totals import parse_totals

ALL = Scope.everything()


def dimensions(text: str) -> tuple[Dimension, ...]:
    return parse_totals(f"group_by={text}", ALL).group_by


def measures(text: str) -> tuple[Measure, ...]:
    return parse_totals(f"sum={text}", ALL).measures


def test_without_anything_it_is_the_count_of_all() -> None:
    assert parse_totals("", ALL) == TotalQuestion(Question(ALL), (), (COUNT,))


def test_what_can_be_grouped_by() -> None:
    assert dimensions("site_id,month,start.day,meta.month,component.Cores,stop_time,%22a,b%22") == (
        MetaDimension("site_id"),
        TimeDimension(TimeUnit.MONTH),
        TimeDimension(TimeUnit.DAY, Column.START_TIME),
        MetaDimension("month"),
        AmountDimension("Cores"),
        FieldDimension(Column.STOP_TIME),
        MetaDimension("a,b"),
    )


def test_what_can_be_summed() -> None:
    assert measures("count,Cores*runtime*HEPSPEC06,duration,component.runtime,Cores*component.Mem*score.w") == (
        COUNT,
        Product((Factor("Cores", ("HEPSPEC06",)),), Span.RUNTIME),
        Product(span=Span.DURATION),
        Product((Factor("runtime"),)),
        Product((Factor("Cores"), Factor("Mem", ("w",)))),
    )


def test_extremes_and_filters_go_along() -> None:
    asked = parse_totals("min=stop_time&max=start_time,stop_time&score[HS][gte]=10.5&runtime[gt]=0", ALL)
    assert asked.measures == (
        Extreme(Column.STOP_TIME, latest=False),
        Extreme(Column.START_TIME, latest=True),
        Extreme(Column.STOP_TIME, latest=True),
    )
    assert asked.where.scores == (ScoreCondition("HS", (ScoreBound(Op.GTE, 10.5),)),)
    assert len(asked.where.runtime) == 1


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("group_by=a,a", "names something twice"),
        ("group_by=a*b", "a dimension is no product"),
        ("group_by=a,,b", "a name is missing at character 3"),
        ("group_by=start.month2", "unknown stretch of time"),
        ("group_by=score.x", "not grouped by scores"),
        ("group_by[x]=a", "takes one value"),
        ("sum=a&sum=b", "Multiple values for one key"),
        ("sum=count*a", "`count` stands alone"),
        ("sum=runtime*duration", "at most one of"),
        ("sum=score.a", "has no component before it"),
        ("sum=meta.a", "nothing that can be summed"),
        ("sum=%22a%22b", "neither `,` nor `*`"),
        ("sum=a*b*c*d*e", "more than 4"),
        ("min=runtime", "unknown time"),
        ("limit=3", "no order and no limit"),
        ("sort_by[asc]=runtime", "no order and no limit"),
        ("score[a][gt]=nan", "not a finite number"),
        ("score[a][gt]=1e999", "not a finite number"),
        ("score=3", "needs a score's name"),
        ("nothing=1", "unknown field `nothing`"),
        ("group_by=" + ",".join("abcdefghi"), "9 dimensions, 8 are allowed"),
    ],
)
def test_a_fault_is_told(query: str, sentence: str) -> None:
    with pytest.raises(BadQuery) as caught:
        parse_totals(query, ALL)
    assert sentence in str(caught.value)


names = st.sampled_from(
    ["a", "count", "runtime", "month", "start_time", "meta.x", "a,b", "a*b", '"', '"x"', " y ", "."]
)
names |= st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=5).filter(
    lambda name: not name.isspace()
)
dimension = (
    st.builds(MetaDimension, names)
    | st.builds(TimeDimension, st.sampled_from(TimeUnit), st.sampled_from([Column.START_TIME, Column.STOP_TIME]))
    | st.builds(FieldDimension, st.sampled_from(Column))
    | st.builds(AmountDimension, names)
)
factor = st.builds(Factor, names, st.lists(names, max_size=1).map(tuple))
product = st.builds(Product, st.lists(factor, max_size=2).map(tuple), st.none() | st.sampled_from(Span))


@given(
    st.lists(dimension, max_size=3, unique=True).map(tuple),
    st.lists(product, min_size=1, max_size=3, unique=True).map(tuple),
)
def test_every_question_can_be_written_and_read_again(
    group_by: tuple[Dimension, ...], products: tuple[Product, ...]
) -> None:
    question = TotalQuestion(Question(ALL), group_by, (*products, Extreme(Column.STOP_TIME, latest=True)))
    assert parse_totals(total_query_string(question), ALL) == question


@given(st.text())
def test_no_text_does_anything_but_ask_or_be_refused(text: str) -> None:
    for key in ("group_by", "sum", "min", "score[a][gt]"):
        with contextlib.suppress(BadQuery):
            parse_totals(f"{key}={text}", ALL)
