"""Totals by reading records: for questions about what stands in bodies, which a database would open again and again.

What a database would answer to the parts of a question (`jobmeter.store.grouped`) is made here of bodies, so that the
same tally puts both together.

Of a body only the meta keys and the components are decoded that the question is about.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice, product
from types import SimpleNamespace
from typing import Any

import msgspec

from jobmeter.model.question import Column, Question
from jobmeter.model.total import AmountDimension, Extreme, Measure, MetaDimension, Product, Span, TotalQuestion
from jobmeter.store.facet import FACET_OF_KEY
from jobmeter.store.read_form import Block, Form
from jobmeter.store.tally import ROWS_MAX, FacetValue, Tally

Row = tuple[int, int | None, bytes]
"""Start and stop in microseconds since 1970, and the body."""

BLOCK_RECORDS = 1000

_ONE = SimpleNamespace(amount=1)
"""In place of a second component."""

_Key = tuple[Any, ...]


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


def add_read(tally: Tally, question: TotalQuestion, rows: Iterable[Row]) -> None:
    """Add the records of `rows`, which fulfil `of_columns`, to a tally. Raises TooManyGroups."""
    reading = _Reading(question)
    reading.take(rows)
    reading.give(tally)


class _Reading:
    """The sums of the rows read so far, column by column: a loop over a list costs half of a call for each record."""

    def __init__(self, question: TotalQuestion) -> None:
        form = Form(question)
        self._keys = [form.key_part(dimension) for dimension in question.group_by]
        self._facets = [
            isinstance(dimension, MetaDimension) and dimension.key in FACET_OF_KEY for dimension in question.group_by
        ]
        self._keeps = form.conditions(question.where)
        self._columns = [_column(measure) for measure in question.measures]
        self._decode = form.decoder()
        self._groups: dict[_Key, int] = {}

    def take(self, rows: Iterable[Row]) -> None:
        """Read rows until there are more groups than a tally takes."""
        reading = iter(rows)
        while len(self._groups) <= ROWS_MAX and (some := list(islice(reading, BLOCK_RECORDS))):
            starts, stops, bodies = zip(*some, strict=True)
            self._add(Block(starts, stops, list(map(self._decode, bodies))))

    def _add(self, block: Block) -> None:
        for keep in self._keeps:
            block = block.only(keep(block))
        groups = self._groups
        parts = [part(block) for part in self._keys]
        keys: Iterable[_Key] = zip(*parts, strict=True) if parts else [()] * len(block.starts)
        places = [groups.setdefault(key, len(groups)) for key in keys]
        for column in self._columns:
            column.add(places, len(groups), block)

    def give(self, tally: Tally) -> None:
        """Add what was read to a tally. Raises TooManyGroups."""
        columns = [column.sums(tally) for column in self._columns]
        for key, place in self._groups.items():
            pairs: list[Any] = []
            for values, counts in columns:
                pairs += values[place], counts[place]
            tally.merge(
                tuple(
                    [
                        FacetValue(value) if is_facet and value is not None else value
                        for value, is_facet in zip(key, self._facets, strict=True)
                    ]
                ),
                pairs,
            )


_Sums = tuple[list[Any], list[int]]
"""By group: the value, None where there is none, and of how many terms it is made."""


class _Plain:
    """A measure of times alone, or the count of records."""

    def __init__(self) -> None:
        self._values: list[Any] = []
        self._counts: list[int] = []

    def add(self, places: Sequence[int], groups: int, block: Block) -> None:
        """Add a block; `places` are the groups of its records, of so many groups in all."""
        new = groups - len(self._counts)
        self._values += [None] * new
        self._counts += [0] * new
        self._join(places, block)

    def sums(self, _: Tally) -> _Sums:
        """What was added."""
        return self._values, self._counts

    def _join(self, places: Sequence[int], block: Block) -> None:
        raise NotImplementedError


class _Span(_Plain):
    def __init__(self, span: Span | None) -> None:
        super().__init__()
        self._span = span

    def _join(self, places: Sequence[int], block: Block) -> None:
        values, counts = self._values, self._counts
        for place, length in zip(places, block.spans(self._span), strict=True):
            if length is not None:
                values[place] = (values[place] or 0) + length
                counts[place] += 1


class _Extreme(_Plain):
    def __init__(self, measure: Extreme) -> None:
        super().__init__()
        self._measure = measure

    def _join(self, places: Sequence[int], block: Block) -> None:
        values, counts, latest = self._values, self._counts, self._measure.latest
        moments = block.starts if self._measure.column is Column.START_TIME else block.stops
        for place, moment in zip(places, moments, strict=True):
            if moment is not None:
                before = values[place]
                if before is None or (moment > before) is latest:
                    values[place] = moment
                counts[place] += 1


class _Amount(_Plain):
    """A product of one component without scores."""

    def __init__(self, name: str, span: Span | None) -> None:
        super().__init__()
        self._name = name
        self._span = span

    def _join(self, places: Sequence[int], block: Block) -> None:
        values, counts = self._values, self._counts
        for place, length, ones in zip(places, block.spans(self._span), block.components(self._name), strict=True):
            if length is not None:
                for one in ones:
                    values[place] = (values[place] or 0) + one.amount * length
                    counts[place] += 1


class _Scored:
    """A product of components with scores: its values and counts, by group and the scores to be multiplied by."""

    def __init__(self, measure: Product) -> None:
        self._span = measure.span
        self._cells: list[dict[_Key, list[int]]] = []
        self._names = [factor.component for factor in measure.factors]
        self._wanted = [(place, score) for place, factor in enumerate(measure.factors) for score in factor.scores]

    def add(self, places: Sequence[int], groups: int, block: Block) -> None:
        """See _Plain."""
        self._cells += [{} for _ in range(groups - len(self._cells))]
        cells, wanted = self._cells, self._wanted
        factors = [block.components(name) for name in self._names]
        for place, length, *held in zip(places, block.spans(self._span), *factors, strict=True):
            if length is None:
                continue
            for chosen in product(*held):
                scores = tuple([_score(chosen[number], score) for number, score in wanted])
                if None in scores:
                    continue
                value = length
                for one in chosen:
                    value *= one.amount
                cell = cells[place].get(scores)
                if cell is None:
                    cells[place][scores] = [value, 1]
                else:
                    cell[0] += value
                    cell[1] += 1

    def sums(self, tally: Tally) -> _Sums:
        """See _Plain."""
        found = [_weighed(tally, cells) for cells in self._cells]
        return [value for value, _ in found], [counted for _, counted in found]


class _ScoredOnce(_Scored):
    """A product of one or two components with one score: what most reports ask for."""

    def __init__(self, measure: Product) -> None:
        super().__init__(measure)
        ((self._scored, self._score),) = self._wanted

    def add(self, places: Sequence[int], groups: int, block: Block) -> None:
        """See _Plain."""
        self._cells += [{} for _ in range(groups - len(self._cells))]
        cells, wanted = self._cells, self._score
        factors = [block.components(name) for name in self._names]
        scored, *others = factors.pop(self._scored), *factors
        weights = others[0] if others else [(_ONE,)] * len(places)
        for place, length, ones, twos in zip(places, block.spans(self._span), scored, weights, strict=True):
            if length is None:
                continue
            for one in ones:
                for score in one.scores:
                    if score.name == wanted:
                        by_scores, key = cells[place], (score.value,)
                        for two in twos:
                            cell = by_scores.get(key)
                            if cell is None:
                                by_scores[key] = [one.amount * length * two.amount, 1]
                            else:
                                cell[0] += one.amount * length * two.amount
                                cell[1] += 1
                        break


def _weighed(tally: Tally, sums: dict[_Key, list[int]]) -> tuple[Any, int]:
    """The value of a product of components, and how many terms it has."""
    total, terms = None, 0
    for scores, (value, counted) in sums.items():
        term = tally.weighed(value, scores)
        total = term if total is None else tally.plus(total, term)
        terms += counted
    return total, terms


def _column(measure: Measure) -> _Plain | _Scored:
    if isinstance(measure, Extreme):
        return _Extreme(measure)
    if not measure.factors:
        return _Span(measure.span)
    scores = sum(len(factor.scores) for factor in measure.factors)
    if len(measure.factors) == 1 and not scores:
        return _Amount(measure.factors[0].component, measure.span)
    return _ScoredOnce(measure) if scores == 1 and len(measure.factors) <= 2 else _Scored(measure)


def _score(component: Any, name: str) -> float | None:
    for score in component.scores:
        if score.name == name:
            value: float = score.value
            return value
    return None
