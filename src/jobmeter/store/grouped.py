"""A question for totals becomes SELECTs of partial sums: one over the columns, one for each product of components.

A row has the parts of the group's key first, then the scores that the sums are to be multiplied by (a float in SQL
would lose digits, so rows are grouped by them), then a pair of value and count per measure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import BigInteger, ColumnElement, Select, case, func, literal, null, select

from jobmeter.model.question import Column
from jobmeter.model.total import (
    AmountDimension,
    Dimension,
    Extreme,
    FieldDimension,
    MetaDimension,
    Product,
    Span,
    TimeDimension,
    TimeUnit,
    TotalQuestion,
)
from jobmeter.store.compare import floor_of
from jobmeter.store.facet import FACET_OF_KEY
from jobmeter.store.row import storable
from jobmeter.store.statement import View, conditions, seconds_of

DAY_US = 86_400_000_000


class Part(Struct, frozen=True):
    """One SELECT of a question: which measures its rows are about, and how many parts of key and scores come first."""

    measures: tuple[int, ...]
    keys: int
    scores: int
    statement: Callable[[bool], Select[Any]]
    """Given whether the database is to use the slow arithmetic that is exact beyond 64 bits."""
    weights: Mapping[int, tuple[float, ...]] | None = None
    """Where the one score column holds numbers: the scores that each stands for."""

    @property
    def sums_from(self) -> int:
        """The place in a row where the sums begin."""
        return self.keys + self.scores


def parts_of(question: TotalQuestion, view: View, *, only: ColumnElement[bool] | None = None) -> Iterator[Part]:
    """The SELECTs that together answer `question`; the first one has a row for every group.

    `only` is one more condition on the rows.
    """
    asked = _Asked(question, view, only)
    plain = tuple(n for n, measure in enumerate(question.measures) if not getattr(measure, "factors", ()))
    yield Part(plain, len(question.group_by), 0, lambda exact: asked.plain(plain, exact=exact))
    for number, measure in enumerate(question.measures):
        if isinstance(measure, Product) and measure.factors:
            yield asked.part(number, measure)


class _Asked:
    """A question beside what it is asked of."""

    def __init__(self, question: TotalQuestion, view: View, only: ColumnElement[bool] | None) -> None:
        self._measures = question.measures
        self._view = view
        self._where = [*conditions(question.where, view), *([] if only is None else [only])]
        self._keys = [_key_part(dimension, view).label(f"k{n}") for n, dimension in enumerate(question.group_by)]

    def part(self, number: int, product: Product) -> Part:
        """The SELECT of a product with components."""
        scores = sum(len(factor.scores) for factor in product.factors)
        return Part((number,), len(self._keys), scores, lambda exact: self._product(product, exact=exact))

    def plain(self, numbers: tuple[int, ...], *, exact: bool) -> Select[Any]:
        """The SELECT of the measures that need no component."""
        rows = self._view.rows
        inner = select(*self._keys, rows.c.start_us, rows.c.stop_us).where(*self._where).subquery("r")
        found: list[ColumnElement[Any]] = []
        for number in numbers:
            measure = self._measures[number]
            if isinstance(measure, Extreme):
                column = inner.c.start_us if measure.column is Column.START_TIME else inner.c.stop_us
                found += [func.max(column) if measure.latest else func.min(column), func.count(column)]
            elif isinstance(measure, Product) and measure.span is not None:
                found += [self._view.probe.sum_of([_span(measure.span, inner)], exact=exact)]
                found += [func.count(inner.c.stop_us)]
            else:
                found += [func.count(), func.count()]
        # Without a measure of its own the row still tells that the group is there.
        return grouped(inner, [key.name for key in self._keys], found or [func.count()])

    def _product(self, product: Product, *, exact: bool) -> Select[Any]:
        rows, probe = self._view.rows, self._view.probe
        elements = [probe.element(_storable(factor.component), number) for number, factor in enumerate(product.factors)]
        scores = [
            probe.score_first(element, _storable(name)).label(f"s{place}")
            for place, (element, name) in enumerate(
                (element, name)
                for element, factor in zip(elements, product.factors, strict=True)
                for name in factor.scores
            )
        ]
        amounts = [element.amount.label(f"a{number}") for number, element in enumerate(elements)]
        inner = (
            select(*self._keys, *scores, *amounts, rows.c.start_us, rows.c.stop_us)
            .select_from(rows, *[element.rows for element in elements])
            .where(*self._where, *[element.condition for element in elements])
            .subquery("r")
        )
        factors: list[ColumnElement[Any]] = [inner.c[amount.name] for amount in amounts]
        needed: list[ColumnElement[bool]] = [inner.c[score.name].is_not(None) for score in scores]
        if product.span is not None:
            factors.append(_span(product.span, inner))
            needed.append(inner.c.stop_us.is_not(None))
        found = [probe.sum_of(factors, exact=exact), func.count()]
        return grouped(inner, [column.name for column in (*self._keys, *scores)], found, needed)


def grouped(
    inner: Any, names: Sequence[str], found: Sequence[ColumnElement[Any]], needed: Sequence[ColumnElement[bool]] = ()
) -> Select[Any]:
    """The SELECT of `found` per group of the columns `names` of `inner`, of its rows that are `needed`."""
    columns = [inner.c[name] for name in names]
    statement = select(*columns, *found).select_from(inner).where(*needed)
    # Without columns to group by there is one group where there are records, and none else.
    if not columns:
        return statement.having(func.count() > 0)
    return statement.group_by(*[inner.c[name] for name in dict.fromkeys(names)])


def _storable(name: str) -> str:
    """The name, or the one that nothing has where no database can hold it."""
    return name if storable(name) else ""


def _span(span: Span, rows: Any) -> ColumnElement[Any]:
    return seconds_of(rows) if span is Span.RUNTIME else rows.c.stop_us - rows.c.start_us


def _key_part(dimension: Dimension, view: View) -> ColumnElement[Any]:
    rows, probe = view.rows, view.probe
    match dimension:
        case MetaDimension(key):
            if not storable(key):
                return null()
            facet = FACET_OF_KEY.get(key)
            return probe.meta_first(key) if facet is None else rows.c[facet.column]
        case TimeDimension(unit, column):
            moment = rows.c.stop_us if column is Column.STOP_TIME else rows.c.start_us
            return _stretch(unit, moment, view)
        case FieldDimension(Column.RECORD_ID):
            return probe.record_id()
        case FieldDimension(Column.RUNTIME):
            return seconds_of(rows)
        case FieldDimension(column):
            return rows.c.stop_us if column is Column.STOP_TIME else rows.c.start_us
        case AmountDimension(component):
            return probe.amount_first(component) if storable(component) else null()


def _stretch(unit: TimeUnit, moment: ColumnElement[Any], view: View) -> ColumnElement[Any]:
    """A whole number per stretch: days and Mondays since 1970, months and years since the year 0."""
    if unit is TimeUnit.MONTH:
        return view.probe.month(moment)
    if unit is TimeUnit.YEAR:
        return view.probe.month(moment) // literal(12, BigInteger())
    day = floor_of(moment, DAY_US)
    if unit is TimeUnit.DAY:
        return day
    since_monday = (day + 3) % literal(7, BigInteger())  # 1970 began on a Thursday
    return day - case((since_monday < 0, since_monday + 7), else_=since_monday)
