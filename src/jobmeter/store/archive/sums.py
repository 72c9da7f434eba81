"""Totals over archived records, where nothing kept in the database answers them: record by record, exact.

What a database would answer to the parts of a question (`jobmeter.store.grouped`) is made here of bodies, so that the
same tally puts both together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import Any

from jobmeter.model.question import Column
from jobmeter.model.record import from_microseconds, microseconds
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
from jobmeter.store.archive.shred import Body, decode_body
from jobmeter.store.grouped import DAY_US, Part
from jobmeter.store.tally import ROWS_MAX, Tally


class _Times:
    """The times of a record, in microseconds since 1970."""

    def __init__(self, record: Body) -> None:
        self.start_us = microseconds(record.start_time)
        self.stop_us = microseconds(record.stop_time)

    def of(self, column: Column) -> int:
        return self.stop_us if column is Column.STOP_TIME else self.start_us

    def span(self, span: Span | None) -> int:
        duration = self.stop_us - self.start_us
        return 1 if span is None else duration // 1_000_000 if span is Span.RUNTIME else duration


def add_bodies(tally: Tally, question: TotalQuestion, parts: Sequence[Part], bodies: Iterable[bytes]) -> None:
    """Add the records of `bodies`, which match the question, to what the database gave. Raises TooManyGroups."""
    sums: list[dict[tuple[Any, ...], list[Any]]] = [{} for _ in parts]
    for body in bodies:
        record = decode_body(body)
        times = _Times(record)
        key = tuple(_key_part(dimension, record, times) for dimension in question.group_by)
        for part, held in zip(parts, sums, strict=True):
            for scores, found in _terms(question, part, record, times):
                _join(question, part, held.setdefault((*key, *scores), []), found)
            if len(held) > ROWS_MAX:
                break
    for part, held in zip(parts, sums, strict=True):
        tally.add(part, [(*key, *found) for key, found in held.items()])


def _key_part(dimension: Dimension, record: Body, times: _Times) -> Any:
    match dimension:
        case MetaDimension(key):
            return next(iter((record.meta or {}).get(key, ())), None)
        case TimeDimension(unit, column):
            return _stretch(unit, times.of(column))
        case FieldDimension(Column.RECORD_ID):
            return record.record_id
        case FieldDimension(Column.RUNTIME):
            return times.span(Span.RUNTIME)
        case FieldDimension(column):
            return times.of(column)
        case AmountDimension(component):
            return next((one.amount for one in record.components if one.name == component), None)


def _stretch(unit: TimeUnit, moment_us: int) -> int:
    """The numbers that `jobmeter.store.grouped` groups by."""
    if unit in (TimeUnit.MONTH, TimeUnit.YEAR):
        moment = from_microseconds(moment_us)
        return moment.year if unit is TimeUnit.YEAR else moment.year * 12 + moment.month - 1
    day = moment_us // DAY_US
    return day if unit is TimeUnit.DAY else day - (day + 3) % 7


def _terms(
    question: TotalQuestion, part: Part, record: Body, times: _Times
) -> Iterator[tuple[tuple[Any, ...], list[Any]]]:
    """What the record adds to a part: the scores to multiply by, and a pair of value and count per measure."""
    measures = [question.measures[number] for number in part.measures]
    if len(measures) != 1 or not isinstance(measures[0], Product) or not measures[0].factors:
        found: list[Any] = []
        for measure in measures:
            found += [times.of(measure.column) if isinstance(measure, Extreme) else times.span(measure.span), 1]
        yield (), found or [1]
        return
    summed = measures[0]
    named = [[one for one in record.components if one.name == factor.component] for factor in summed.factors]
    for chosen in product(*named):
        scores: list[float] = []
        value = times.span(summed.span)
        for one, factor in zip(chosen, summed.factors, strict=True):
            value *= one.amount
            firsts = (next((s.value for s in one.scores if s.name == name), None) for name in factor.scores)
            scores += [score for score in firsts if score is not None]
        if len(scores) == part.scores:
            yield tuple(scores), [value, 1]


def _join(question: TotalQuestion, part: Part, held: list[Any], found: list[Any]) -> None:
    if not held:
        held += found
        return
    for place, number in enumerate(part.measures):
        measure = question.measures[number]
        if isinstance(measure, Extreme):
            held[2 * place] = (max if measure.latest else min)(held[2 * place], found[2 * place])
        else:
            held[2 * place] += found[2 * place]
        held[2 * place + 1] += found[2 * place + 1]
