"""Totals by walking over records with fractions: what the words of the contract mean, without any database."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from datetime import UTC, timedelta
from decimal import Decimal
from fractions import Fraction

from jobmeter.model.question import Column
from jobmeter.model.record import Component, Record, microseconds
from jobmeter.model.total import (
    AmountDimension,
    Dimension,
    Extreme,
    FieldDimension,
    Measure,
    Measured,
    MetaDimension,
    Product,
    Span,
    TimeDimension,
    TimeUnit,
    Total,
    TotalQuestion,
    in_order,
)


def plain_totals(records: Iterable[Record], question: TotalQuestion) -> list[Total]:
    """The totals of `records`, which all match the question."""
    groups: dict[tuple[str | int | None, ...], list[Record]] = {}
    for record in records:
        groups.setdefault(tuple(_part(record, dimension) for dimension in question.group_by), []).append(record)
    return in_order(
        [
            Total(key, tuple(_measured(members, measure) for measure in question.measures))
            for key, members in groups.items()
        ]
    )


def _part(record: Record, dimension: Dimension) -> str | int | None:
    if isinstance(dimension, MetaDimension):
        return next(iter((record.meta or {}).get(dimension.key, ())), None)
    if isinstance(dimension, AmountDimension):
        return next((part.amount for part in record.components if part.name == dimension.component), None)
    if dimension.column is Column.RECORD_ID:
        return record.record_id
    if dimension.column is Column.RUNTIME:
        return record.runtime_seconds
    moment = record.start_time if dimension.column is Column.START_TIME else record.stop_time
    if moment is None:
        return None
    if isinstance(dimension, FieldDimension):
        return microseconds(moment)
    assert isinstance(dimension, TimeDimension)
    form = {TimeUnit.DAY: "%Y-%m-%d", TimeUnit.WEEK: "%G-W%V", TimeUnit.MONTH: "%Y-%m", TimeUnit.YEAR: "%Y"}
    return moment.astimezone(UTC).strftime(form[dimension.unit])


def _measured(records: list[Record], measure: Measure) -> Measured:
    if isinstance(measure, Extreme):
        moments = [r.start_time if measure.column is Column.START_TIME else r.stop_time for r in records]
        found = [microseconds(moment) for moment in moments if moment is not None]
        return Measured((max if measure.latest else min)(found) if found else None, len(found))
    terms = [term for record in records for term in _terms(record, measure)]
    if not terms:
        return Measured(None, 0)
    total = sum(terms)
    with_fraction = measure.span is Span.DURATION or any(factor.scores for factor in measure.factors)
    return Measured(_decimal(Fraction(total)) if with_fraction else int(total), len(terms))


def _terms(record: Record, product: Product) -> Iterator[Fraction]:
    if product.span is None:
        span = Fraction(1)
    elif record.stop_time is None:
        return
    elif product.span is Span.RUNTIME:
        span = Fraction(record.runtime_seconds or 0)
    else:
        span = Fraction((record.stop_time - record.start_time) // timedelta(microseconds=1), 10**6)
    named = [[part for part in record.components if part.name == factor.component] for factor in product.factors]
    for chosen in itertools.product(*named):
        factors = [_factor(part, factor.scores) for part, factor in zip(chosen, product.factors, strict=True)]
        if None not in factors:
            yield span * math.prod(factor for factor in factors if factor is not None)


def _factor(part: Component, names: tuple[str, ...]) -> Fraction | None:
    values = [next((score.value for score in part.scores if score.name == name), None) for name in names]
    if None in values:
        return None
    return math.prod((Fraction(repr(value)) for value in values if value is not None), start=Fraction(part.amount))


def _decimal(number: Fraction) -> Decimal:
    """The same number, whose denominator divides a power of ten."""
    places = 0
    while number.denominator != 1:
        number *= 10
        places += 1
    digits = tuple(int(digit) for digit in str(number.numerator))
    return Decimal((0, digits, -places))
