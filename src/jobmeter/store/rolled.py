"""Which questions for totals the rollups answer, and the SELECTs that do it.

Answered are those over whole months of the stop, that look at nothing but sites, groups and users, and whose products
have one component at most. Everything else is summed from the records.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import BigInteger, ColumnElement, Integer, Select, case, func, literal, null, select

from jobmeter.model.question import Bound, Column, Op
from jobmeter.model.total import (
    Dimension,
    MetaDimension,
    Product,
    Span,
    TimeDimension,
    TimeUnit,
    TotalQuestion,
)
from jobmeter.store.facet import FACET_OF_KEY, SITE
from jobmeter.store.grouped import Part, grouped
from jobmeter.store.rollup import BY_SITE, FINE, WITH_SCORES, Kind, month_that_begins
from jobmeter.store.statement import View, conditions
from jobmeter.store.tables import rollup_amounts, rollups

_UNITS = (TimeUnit.MONTH, TimeUnit.YEAR)
_NONE = literal(0, Integer())


class Months(Struct, frozen=True):
    """From `first` on, before `end`; None: no bound. With a bound, records without a stop are left out."""

    first: int | None = None
    end: int | None = None


def months_of(question: TotalQuestion) -> Months | None:
    """The months that `question` is about, or None when the rollups cannot answer it."""
    where = question.where
    plain = replace(where, scope=where.scope.everything(), meta=(), stop_time=(), order=type(where.order)(), limit=None)
    if plain != type(where)(where.scope.everything()):
        return None
    keys = [condition.key for condition in where.meta]
    keys += [rule.key for group in where.scope.any_of or () for rule in group]
    if not FACET_OF_KEY.keys() >= set(keys) or not all(map(_has_dimension, question.group_by)):
        return None
    if not all(map(_has_measure, question.measures)):
        return None
    return _whole_months(where.stop_time)


def _has_dimension(dimension: Dimension) -> bool:
    match dimension:
        case MetaDimension(key):
            return key in FACET_OF_KEY
        case TimeDimension(unit, Column.STOP_TIME):
            return unit in _UNITS
    return False


def _has_measure(measure: object) -> bool:
    if not isinstance(measure, Product) or len(measure.factors) > 1:
        return False
    return not measure.factors or measure.span is not Span.DURATION


def _whole_months(bounds: Sequence[Bound]) -> Months | None:
    first, end = None, None
    for bound in bounds:
        month = month_that_begins(bound.value)
        if month is None or bound.op not in (Op.GTE, Op.LT):
            return None
        if bound.op is Op.GTE:
            first = month if first is None else max(first, month)
        else:
            end = month if end is None else min(end, month)
    return Months(first, end)


def rolled_parts(
    question: TotalQuestion, months: Months, view: View, kinds: dict[str, dict[int, Kind]]
) -> Iterator[Part]:
    """The SELECTs over the rollups that answer `question`; the first one has a row for every group.

    `kinds` has the numbered kinds of each component that is asked for.
    """
    plain = tuple(number for number, measure in enumerate(question.measures) if not getattr(measure, "factors", ()))
    where = replace(question.where, stop_time=())
    yield Part(
        plain, len(question.group_by), 0, lambda exact: _times(question, plain, (months, where, view), exact=exact)
    )
    for number, measure in enumerate(question.measures):
        if isinstance(measure, Product) and measure.factors:
            (factor,) = measure.factors
            weights = _weights(factor.scores, kinds[factor.component])
            if weights:
                yield Part(
                    (number,),
                    len(question.group_by),
                    1 if factor.scores else 0,
                    _amounts(question, measure, (months, where, view), sorted(weights)),
                    weights if factor.scores else None,
                )


def _weights(scores: Sequence[str], kinds: dict[int, Kind]) -> dict[int, tuple[float, ...]]:
    """The first value of each of `scores`, for the kinds that have all of them; without scores the plain kind alone."""
    if not scores:
        return {number: () for number, kind in kinds.items() if not kind.scores}
    found = {}
    for number, kind in kinds.items():
        values = [next((value for name, value in kind.scores if name == score), None) for score in scores]
        if None not in values:
            found[number] = tuple(value for value in values if value is not None)
    return found


_Asked = tuple[Months, Any, View]


def _times(question: TotalQuestion, plain: tuple[int, ...], asked: _Asked, *, exact: bool) -> Select[Any]:
    probe = asked[2].probe
    of_level = _inner(question, rollups, asked).where(rollups.c.level == literal(_level(question), Integer()))
    inner = of_level.add_columns(rollups.c.n, rollups.c.seconds, rollups.c.micros).subquery("r")
    stopped = func.sum(case((inner.c.month == _NONE, _NONE), else_=inner.c.n))
    found: list[ColumnElement[Any]] = []
    for number in plain:
        span = getattr(question.measures[number], "span", None)
        if span is None:
            found += [func.sum(inner.c.n), func.sum(inner.c.n)]
        else:
            column = inner.c.seconds if span is Span.RUNTIME else inner.c.micros
            found += [probe.sum_of([column], exact=exact), stopped]
    return grouped(inner, _names(question), found or [func.count()])


def _amounts(question: TotalQuestion, product: Product, asked: _Asked, numbers: list[int]) -> Any:
    def statement(exact: bool) -> Select[Any]:
        rows = rollup_amounts
        column = rows.c.amount if product.span is None else rows.c.amount_seconds
        inner = _inner(question, rows, asked).add_columns(rows.c.n, column.label("amount"), rows.c.kind)
        level, scored = _level(question), product.factors[0].scores
        levels = [level] if scored else [level, level + WITH_SCORES]
        inner = inner.where(rows.c.kind.in_(numbers), rows.c.level.in_(levels))
        if product.span is not None:
            inner = inner.where(rows.c.month != _NONE)
        table = inner.subquery("r")
        names = [*_names(question), *(["kind"] if scored else [])]
        return grouped(table, names, [asked[2].probe.sum_of([table.c.amount], exact=exact), func.sum(table.c.n)])

    return statement


def _inner(question: TotalQuestion, rows: Any, asked: _Asked) -> Select[Any]:
    months, where, view = asked
    keys = [_key(dimension, rows).label(f"k{n}") for n, dimension in enumerate(question.group_by)]
    statement = select(*keys, rows.c.month).where(*conditions(where, replace_rows(view, rows)))
    if months.first is not None:
        statement = statement.where(rows.c.month >= literal(months.first, Integer()))
    if months.end is not None:
        statement = statement.where(rows.c.month < literal(months.end, Integer()), rows.c.month != _NONE)
    return statement


def _level(question: TotalQuestion) -> int:
    """The level with the fewest rows that knows all that is asked about."""
    where = question.where
    keys = {dimension.key for dimension in question.group_by if isinstance(dimension, MetaDimension)}
    keys |= {condition.key for condition in where.meta}
    keys |= {rule.key for group in where.scope.any_of or () for rule in group}
    return BY_SITE if keys <= set(SITE.keys) else FINE


def replace_rows(view: View, rows: Any) -> View:
    """The view, of other rows."""
    return View(rows, view.probe, view.resolve)


def _key(dimension: Dimension, rows: Any) -> ColumnElement[Any]:
    if isinstance(dimension, MetaDimension):
        # Where the rollups have 0 the records have NULL: none of the facet's keys.
        column: ColumnElement[Any] = func.nullif(rows.c[FACET_OF_KEY[dimension.key].column], _NONE)
        return column
    month = case((rows.c.month == _NONE, null()), else_=rows.c.month)
    yearly = isinstance(dimension, TimeDimension) and dimension.unit is TimeUnit.YEAR
    return month // literal(12, BigInteger()) if yearly else month


def _names(question: TotalQuestion) -> list[str]:
    """The columns of the key; two dimensions of one facet are one column, which the database then groups by once."""
    columns = [
        FACET_OF_KEY[dimension.key].column if isinstance(dimension, MetaDimension) else dimension
        for dimension in question.group_by
    ]
    return [f"k{columns.index(column)}" for column in columns]
