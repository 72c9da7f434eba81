"""Partial sums are put together to totals: exact, group by group."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from decimal import Context, Decimal, Inexact
from typing import Any

import msgspec

from jobmeter.model.question import Column
from jobmeter.model.total import (
    Dimension,
    Extreme,
    FieldDimension,
    Key,
    Measure,
    Measured,
    MetaDimension,
    Product,
    Span,
    TimeDimension,
    TimeUnit,
    TooManyGroups,
    Total,
    TotalQuestion,
    in_order,
)
from jobmeter.store.facet import FACET_OF_KEY
from jobmeter.store.grouped import Part

GROUPS_MAX = 200_000
"""Groups that are held at once; an answer of more is refused."""
ROWS_MAX = 1_000_000
"""Partial sums that are looked at for one measure: groups times the different scores in them."""

WEIGHTS_MAX = 10_000
"""Products of scores that are remembered."""

_Cells = list[Any]
"""Value and count of each measure in turn."""

_facet_value = msgspec.json.Decoder(dict[str, list[str]]).decode


class Tally:
    """What the rows added so far amount to. In a key stands for a facet its number in the dictionary, or the value."""

    def __init__(self, question: TotalQuestion) -> None:
        self._question = question
        # Digits for the product of four of the largest and smallest scores there can be: never rounded, or refused.
        self._exact = Context(prec=6000, Emin=-999_999, Emax=999_999, traps=[Inexact])
        self._groups: dict[tuple[Any, ...], _Cells] = {}
        self._weights: dict[tuple[Any, ...], Decimal] = {}
        self._places = [(2 * number, self._joins(measure)) for number, measure in enumerate(question.measures)]

    def add(self, part: Part, rows: Sequence[Sequence[Any]]) -> None:
        """Take rows of `part`, as the database gave them, at most ROWS_MAX. Raises TooManyGroups."""
        if len(rows) > ROWS_MAX:
            raise TooManyGroups(f"there are more than {ROWS_MAX} groups: narrow the question or group by less")
        for row in rows:
            scores = row[part.keys : part.sums_from]
            weights = tuple(scores) if part.weights is None else part.weights[scores[0]]
            pairs = [
                (number, *row[part.sums_from + 2 * place : part.sums_from + 2 * place + 2])
                for place, number in enumerate(part.measures)
            ]
            self.join(tuple(_text(value) for value in row[: part.keys]), weights, pairs)

    def join(self, key: tuple[Any, ...], weights: tuple[Any, ...], pairs: Sequence[tuple[int, Any, int]]) -> None:
        """Add to the group of `key` numbers of measures with their values, each times `weights`, and counts.

        Raises TooManyGroups.
        """
        cells: _Cells = [None, 0] * len(self._question.measures)
        for number, value, counted in pairs:
            if counted:
                cells[2 * number : 2 * number + 2] = self.weighed(_whole(value), weights), int(counted)
        self.merge(key, cells)

    def weighed(self, value: int, scores: tuple[Any, ...]) -> int | Decimal:
        """The value times all scores, exact; itself where there are none."""
        weight = self._weight(scores)
        return value if weight is None else self._exact.multiply(Decimal(value), weight)

    def plus(self, one: int | Decimal, other: int | Decimal) -> int | Decimal:
        """Both together, exact."""
        return self._exact.add(one, other) if isinstance(one, Decimal) else one + other

    def groups(self) -> dict[tuple[Any, ...], _Cells]:
        """The groups so far: their keys as they were added, and value and count of each measure in turn."""
        return self._groups

    def merge(self, key: tuple[Any, ...], cells: _Cells) -> None:
        """Add to the group of `key` what `groups` gave for it; a new group takes the list. Raises TooManyGroups."""
        held = self._groups.get(key)
        if held is not None:
            self._join(held, cells)
        elif len(self._groups) < GROUPS_MAX:
            self._groups[key] = cells
        else:
            raise TooManyGroups(f"there are more than {GROUPS_MAX} groups: narrow the question or group by less")

    def facet_numbers(self) -> set[int]:
        """The numbers of the dictionary that stand in the keys."""
        places = [
            place
            for place, dimension in enumerate(self._question.group_by)
            if isinstance(dimension, MetaDimension) and dimension.key in FACET_OF_KEY
        ]
        found = {key[place] for key in self._groups for place in places}
        return {number for number in found if isinstance(number, int)}

    def totals(self, facets: Mapping[int, str]) -> list[Total]:
        """The groups in order; `facets` has the dictionary entries of `facet_numbers`."""
        values = {number: _facet_value(text) for number, text in facets.items()}
        readers = [_reader(dimension, values) for dimension in self._question.group_by]
        found: dict[Key, _Cells] = {}
        for raw, cells in self._groups.items():
            key = tuple(read(value) for read, value in zip(readers, raw, strict=True))
            known = found.get(key)
            if known is None:
                found[key] = cells
            else:
                self._join(known, cells)
        return in_order([Total(key, self._measured(cells)) for key, cells in found.items()])

    def _join(self, held: _Cells, cells: _Cells) -> None:
        for place, join in self._places:
            counted = cells[place + 1]
            if counted:
                value = held[place]
                held[place] = cells[place] if value is None else join(value, cells[place])
                held[place + 1] += counted

    def _joins(self, measure: Measure) -> Callable[[Any, Any], Any]:
        """What puts two values of a measure together."""
        if isinstance(measure, Extreme):
            return max if measure.latest else min
        return self._exact.add if is_decimal(measure) else operator.add

    def _weight(self, scores: tuple[Any, ...]) -> Decimal | None:
        """The product of scores; None where there are none."""
        if not scores:
            return None
        known = self._weights.get(scores)
        if known is None:
            known = Decimal(1)
            for score in scores:
                factor = score if isinstance(score, Decimal) else Decimal(repr(float(score)))
                known = self._exact.multiply(known, factor)
            if len(self._weights) < WEIGHTS_MAX:
                self._weights[scores] = known
        return known

    def _measured(self, cells: _Cells) -> tuple[Measured, ...]:
        return tuple(
            Measured(_scaled(self._exact, measure, cells[2 * number]), cells[2 * number + 1])
            for number, measure in enumerate(self._question.measures)
        )


def is_decimal(measure: Measure) -> bool:
    """Whether the values of a measure are decimals, since scores are; all others are whole numbers."""
    return isinstance(measure, Product) and any(factor.scores for factor in measure.factors)


def _scaled(exact: Context, measure: Any, value: Any) -> int | Decimal | None:
    if value is not None and isinstance(measure, Product):
        if measure.span is Span.DURATION:
            value = exact.scaleb(Decimal(value), -6)
        if isinstance(value, Decimal):
            return _shortest(exact, value)
    result: int | Decimal | None = value
    return result


def _shortest(exact: Context, value: Decimal) -> Decimal:
    """The same number without zeros at its end, and without an exponent where it is whole."""
    normal = value.normalize(exact)
    return normal if normal.as_tuple().exponent <= 0 else normal.quantize(Decimal(1), context=exact)  # type: ignore[operator]


def _whole(value: Any) -> int:
    return int(value.decode() if isinstance(value, bytes) else value)


def _text(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    return int(value) if isinstance(value, Decimal) else value


def _reader(dimension: Dimension, facets: Mapping[int, Mapping[str, Sequence[str]]]) -> Callable[[Any], Any]:
    """How the raw part of a key becomes its value."""
    match dimension:
        case MetaDimension(key) if key in FACET_OF_KEY:
            return lambda number: _facet_first(number, key, facets)
        case TimeDimension(unit):
            return lambda number: None if number is None else _stretch(unit, number)
        case FieldDimension(Column.RECORD_ID):
            return lambda value: value
    return lambda value: value


def _facet_first(number: int | str | None, key: str, facets: Mapping[int, Mapping[str, Sequence[str]]]) -> str | None:
    if number is None or isinstance(number, str):
        return number
    return next(iter(facets.get(number, {}).get(key, ())), None)


def _stretch(unit: TimeUnit, number: int) -> str:
    if unit is TimeUnit.YEAR:
        return f"{number:04d}"
    if unit is TimeUnit.MONTH:
        return f"{number // 12:04d}-{number % 12 + 1:02d}"
    day = date(1970, 1, 1) + timedelta(days=number)
    if unit is TimeUnit.DAY:
        return day.isoformat()
    year, week, _ = day.isocalendar()
    return f"{year:04d}-W{week:02d}"
