"""Totals by reading records: for questions about what stands in bodies, which a database would open again and again.

What a database would answer to the parts of a question (`jobmeter.store.grouped`) is made here of bodies, so that the
same tally puts both together. Each record passes through every line of `_Reading.take` and of what it calls.

Of a body only the meta keys and the components are decoded that the question is about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import product
from typing import Any

import msgspec

from jobmeter.model.question import Column, Question
from jobmeter.model.total import AmountDimension, Extreme, Factor, MetaDimension, Product, TotalQuestion
from jobmeter.store.facet import FACET_OF_KEY
from jobmeter.store.grouped import Part
from jobmeter.store.read_form import Form, Named, named, span_of
from jobmeter.store.tally import ROWS_MAX, FacetValue, Tally

Row = tuple[int, int | None, bytes]
"""Start and stop in microseconds since 1970, and the body."""

_Cells = list[Any]
"""Value and count of each plain measure in turn."""
_Scored = dict[tuple[float, ...], list[int]]
"""Value and count of a product of components, by the scores that the value is to be multiplied by."""
_Terms = Callable[[Named], list[tuple[int, tuple[float, ...]]]]
"""The terms of a product in a record, without the span: values, and the scores to multiply them by."""
_AddPlain = Callable[[_Cells, int, int | None], None]
_AddScored = Callable[[_Scored, int, int | None, Named], None]


def is_about_bodies(question: TotalQuestion) -> bool:
    """Whether the columns of the table do not answer it."""
    where = question.where
    if where.components or where.scores or any(condition.key not in FACET_OF_KEY for condition in where.meta):
        return True
    return any(getattr(measure, "factors", ()) for measure in question.measures) or any(
        isinstance(dimension, AmountDimension)
        or (isinstance(dimension, MetaDimension) and dimension.key not in FACET_OF_KEY)
        for dimension in question.group_by
    )


def of_columns(where: Question) -> Question:
    """The part of the conditions that the columns answer; a reading keeps the rest."""
    meta = tuple(condition for condition in where.meta if condition.key in FACET_OF_KEY)
    return msgspec.structs.replace(where, meta=meta, components=(), scores=())


def add_read(tally: Tally, question: TotalQuestion, parts: Sequence[Part], rows: Iterable[Row]) -> None:
    """Add the records of `rows`, which fulfil `of_columns`, to a tally. Raises TooManyGroups."""
    reading = _Reading(question, parts)
    reading.take(rows)
    reading.give(tally, parts)


class _Reading:
    """The sums of the rows read so far, by key: of the plain part, and of each product."""

    def __init__(self, question: TotalQuestion, parts: Sequence[Part]) -> None:
        form = Form(question)
        measures = [[question.measures[number] for number in part.measures] for part in parts]
        self._keys = [form.key_part(dimension) for dimension in question.group_by]
        self._facets = [
            isinstance(dimension, MetaDimension) and dimension.key in FACET_OF_KEY for dimension in question.group_by
        ]
        self._keeps = form.conditions(question.where)
        self._plain = [_plain(measure, 2 * place) for place, measure in enumerate(measures[0])]
        self._scored = [_scored(one) for (one,) in measures[1:] if isinstance(one, Product)]
        self._decode = form.decoder()
        self._sums: dict[tuple[Any, ...], tuple[_Cells, list[_Scored]]] = {}

    def take(self, rows: Iterable[Row]) -> None:
        """Read rows until there are more sums than a tally takes."""
        decode, keys, keeps, sums = self._decode, self._keys, self._keeps, self._sums
        for start_us, stop_us, body in rows:
            found = decode(body)
            held = named(found.components)
            for keep in keeps:
                if not keep(found, held):
                    break
            else:
                key = tuple([part(start_us, stop_us, found, held) for part in keys])
                group = sums.get(key)
                if group is None:
                    group = sums[key] = ([None, 0] * (len(self._plain) or 1), [{} for _ in self._scored])
                    if len(sums) > ROWS_MAX:
                        return
                for add in self._plain:
                    add(group[0], start_us, stop_us)
                for add_scored, scored in zip(self._scored, group[1], strict=True):
                    add_scored(scored, start_us, stop_us, held)

    def give(self, tally: Tally, parts: Sequence[Part]) -> None:
        """Add what was read to a tally. Raises TooManyGroups."""
        plain, *products = parts
        for read, (cells, scored) in self._sums.items():
            key = tuple(
                [
                    FacetValue(value) if is_facet and value is not None else value
                    for value, is_facet in zip(read, self._facets, strict=True)
                ]
            )
            pairs = [None, 0] * (len(plain.measures) + len(products))
            for place, number in enumerate(plain.measures):
                pairs[2 * number : 2 * number + 2] = cells[2 * place : 2 * place + 2]
            for part, sums in zip(products, scored, strict=True):
                number = 2 * part.measures[0]
                pairs[number : number + 2] = _weighed(tally, sums)
            tally.merge(key, pairs)


def _weighed(tally: Tally, sums: _Scored) -> tuple[Any, int]:
    """The value of a product of components, and how many terms it has."""
    total, terms = None, 0
    for scores, (value, counted) in sums.items():
        term = tally.weighed(value, scores)
        total = term if total is None else tally.plus(total, term)
        terms += counted
    return total, terms


def _plain(measure: Any, place: int) -> _AddPlain:
    """Adds a record to the value and the count at `place`."""
    if isinstance(measure, Extreme):
        return _extreme(measure, place)
    span = measure.span
    if span is None:

        def count(cells: _Cells, _: int, __: int | None) -> None:
            cells[place] = cells[place + 1] = cells[place + 1] + 1

        return count

    def add(cells: _Cells, start_us: int, stop_us: int | None) -> None:
        if stop_us is not None:
            cells[place] = (cells[place] or 0) + span_of(span, start_us, stop_us)
            cells[place + 1] += 1

    return add


def _extreme(measure: Extreme, place: int) -> _AddPlain:
    is_stop, latest = measure.column is Column.STOP_TIME, measure.latest

    def add(cells: _Cells, start_us: int, stop_us: int | None) -> None:
        value = stop_us if is_stop else start_us
        if value is not None:
            before = cells[place]
            if before is None or (value > before) is latest:
                cells[place] = value
            cells[place + 1] += 1

    return add


def _scored(measure: Product) -> _AddScored:
    """Adds a record to a product of components."""
    span = measure.span
    terms = _terms_of_one(measure.factors[0]) if len(measure.factors) == 1 else _terms(measure.factors)

    def add(sums: _Scored, start_us: int, stop_us: int | None, held: Named) -> None:
        if span is None:
            length = 1
        elif stop_us is None:
            return
        else:
            length = span_of(span, start_us, stop_us)
        for value, scores in terms(held):
            cell = sums.get(scores)
            if cell is None:
                sums[scores] = [value * length, 1]
            else:
                cell[0] += value * length
                cell[1] += 1

    return add


def _terms_of_one(factor: Factor) -> _Terms:
    """The terms of a product of one component with one score at most: what most questions are about."""
    name, wanted = factor.component, factor.scores
    if len(wanted) > 1:
        return _terms((factor,))
    if not wanted:
        return lambda held: [(one.amount, ()) for one in held.get(name, ())]
    (score,) = wanted

    def terms(held: Named) -> list[tuple[int, tuple[float, ...]]]:
        return [(one.amount, (value,)) for one in held.get(name, ()) if (value := _score(one, score)) is not None]

    return terms


def _terms(factors: Sequence[Factor]) -> _Terms:
    """The terms of any product: one for each choice of a component for each factor."""
    names = [factor.component for factor in factors]
    wanted = [(place, score) for place, factor in enumerate(factors) for score in factor.scores]

    def terms(held: Named) -> list[tuple[int, tuple[float, ...]]]:
        found = []
        for chosen in product(*[held.get(name, ()) for name in names]):
            scores: tuple[Any, ...] = tuple([_score(chosen[place], score) for place, score in wanted])
            if None not in scores:
                value = 1
                for one in chosen:
                    value *= one.amount
                found.append((value, scores))
        return found

    return terms


def _score(component: Any, name: str) -> float | None:
    for score in component.scores:
        if score.name == name:
            value: float = score.value
            return value
    return None
