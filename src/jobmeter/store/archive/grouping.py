"""Totals over one archive file by DuckDB: rows as the databases give them to the parts of a question.

Scores stand in the templates, of which a file has few: rows are grouped by template too, and the scores read from it.
Records that are kept whole are not looked at here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import msgspec

from jobmeter.model.question import Column
from jobmeter.model.total import (
    AmountDimension,
    Dimension,
    Extreme,
    Factor,
    FieldDimension,
    MetaDimension,
    Product,
    Span,
    TimeDimension,
    TimeUnit,
    TotalQuestion,
)
from jobmeter.store.archive.conditions import Clause
from jobmeter.store.archive.layout import FIXED_SLOTS, KEY, Layout, amount, meta_column
from jobmeter.store.grouped import DAY_US, Part

Fetched = Iterable[tuple[Any, ...]]


class Grouping:
    """A question for totals, asked of files of one layout."""

    def __init__(self, question: TotalQuestion, layout: Layout) -> None:
        self._question = question
        self._layout = layout
        self._keys = [_key_part(dimension, layout) for dimension in question.group_by]

    def statement(self, part: Part, where: Clause) -> str:
        """The SELECT of a part; its values are the file and those of `where`."""
        layout = self._layout
        measures = [self._question.measures[number] for number in part.measures]
        found: list[str] = []
        needed = [f"({where.text})", "whole IS NULL"]
        grouped = list(self._keys)
        factors = measures[0].factors if len(measures) == 1 and isinstance(measures[0], Product) else ()
        if factors and isinstance(measures[0], Product):
            names = [factor.component for factor in factors]
            amounts = [amount(layout, name) if name in layout.components else "NULL" for name in names]
            needed += [f"{each} IS NOT NULL" for each in amounts]
            parts = [*amounts, *([] if measures[0].span is None else [_span(measures[0].span, layout)])]
            found += [f"sum({' * '.join(f'({each})::HUGEINT' for each in parts)})", "count(*)"]
            if part.scores:
                grouped.append("shape")
        else:
            for measure in measures:
                found += _plain(measure, layout)
        numbers = ", ".join(str(place + 1) for place in range(len(grouped)))
        end = f"GROUP BY {numbers}" if grouped else "HAVING count(*) > 0"
        columns = ", ".join([*grouped, *(found or ["count(*)"])])
        return f"SELECT {columns} FROM read_parquet(?) WHERE {' AND '.join(needed)} {end}"  # noqa: S608 - columns, quoted

    def rows(self, part: Part, fetched: Fetched, limit: int) -> list[tuple[Any, ...]]:
        """The rows for the tally, of those that the statement gave; at most `limit`."""
        return list(islice(self._rows(part, fetched), limit))

    def _rows(self, part: Part, fetched: Fetched) -> Iterator[tuple[Any, ...]]:
        keys = len(self._keys)
        product = self._question.measures[part.measures[0]] if part.scores else None
        factors = product.factors if isinstance(product, Product) else ()
        for row in fetched:
            if not part.scores:
                yield tuple(row)
                continue
            scores = self._scores(row[keys], factors)
            if len(scores) == part.scores:
                yield (*row[:keys], *scores, *row[keys + 1 :])

    def _scores(self, shape: str, factors: Sequence[Factor]) -> list[float]:
        slots = FIXED_SLOTS + len(self._layout.meta) + len(self._layout.components)
        components = msgspec.json.decode(shape.format(*["0"] * slots))["components"]
        found: list[float] = []
        for factor in factors:
            scores = next(one["scores"] for one in components if one["name"] == factor.component)
            for name in factor.scores:
                found += [score["value"] for score in scores if score["name"] == name][:1]
        return found


def _plain(measure: Product | Extreme, layout: Layout) -> list[str]:
    if isinstance(measure, Extreme):
        moment = layout.start_us if measure.column is Column.START_TIME else layout.stop_us
        return [f"{'max' if measure.latest else 'min'}({moment})", "count(*)"]
    if measure.span is None:
        return ["count(*)", "count(*)"]
    return [f"sum({_span(measure.span, layout)})", "count(*)"]


def _span(span: Span, layout: Layout) -> str:
    return "runtime" if span is Span.RUNTIME else f"({layout.stop_us} - {layout.start_us})"


def _key_part(dimension: Dimension, layout: Layout) -> str:
    match dimension:
        case MetaDimension(key):
            return f"{meta_column(key)}[1]" if key in layout.meta else "NULL::VARCHAR"
        case TimeDimension(unit, column):
            return _stretch(unit, layout.stop_us if column is Column.STOP_TIME else layout.start_us)
        case FieldDimension(Column.RECORD_ID):
            return KEY
        case FieldDimension(Column.RUNTIME):
            return "runtime"
        case FieldDimension(column):
            return layout.stop_us if column is Column.STOP_TIME else layout.start_us
        case AmountDimension(component):
            return amount(layout, component) if component in layout.components else "NULL::BIGINT"


def _stretch(unit: TimeUnit, moment: str) -> str:
    """The numbers that `jobmeter.store.grouped` groups by."""
    year = f"year(make_timestamp({moment}))"
    if unit is TimeUnit.YEAR:
        return year
    if unit is TimeUnit.MONTH:
        return f"({year} * 12 + month(make_timestamp({moment})) - 1)"
    # Division that goes down, also before 1970.
    day = f"(({moment} - (({moment} % {DAY_US}) + {DAY_US}) % {DAY_US}) // {DAY_US})"
    return day if unit is TimeUnit.DAY else f"({day} - ((({day} + 3) % 7) + 7) % 7)"
