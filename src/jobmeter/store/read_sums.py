"""Totals by reading records: for questions about what stands in bodies, which a database would open again and again.

What a database would answer to the parts of a question (`jobmeter.store.grouped`) is made here of bodies, so that the
same tally puts both together.

Of a body only the meta keys and the components are decoded that the question is about.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice, product, repeat
from typing import Any

import msgspec

from jobmeter.model.question import Question
from jobmeter.model.total import COUNT, AmountDimension, Extreme, Measure, MetaDimension, Product, TotalQuestion
from jobmeter.store.core import json_of_all
from jobmeter.store.facet import FACET_OF_KEY
from jobmeter.store.read_block import Block, Found, amounts_of, scores_of
from jobmeter.store.read_form import Form, Key
from jobmeter.store.tally import ROWS_MAX, Tally

Row = tuple[int, int | None, bytes]
"""Start and stop in microseconds since 1970, and the core or the body."""

BLOCK_RECORDS = 250
"""With more a block and what is read of it leave the cache of a core, and each record takes a tenth longer."""

_FAR = 1 << 80
"""A time before or after all there are."""


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
    reading = Reading(question)
    reading.take(rows)
    reading.give(tally)


class Reading:
    """The sums of the rows read so far."""

    def __init__(self, question: TotalQuestion, *, whole: bool = False) -> None:
        self._form = Form(question, whole=whole)
        self._decode = self._form.decoder()
        self._columns = _columns(question.measures)
        self._groups = Numbers()
        self._records: list[int] = []

    def take(self, rows: Iterable[Row]) -> None:
        """Read rows until there are more groups than a tally takes."""
        reading = iter(rows)
        while len(self._groups) <= ROWS_MAX and (some := list(islice(reading, BLOCK_RECORDS))):
            starts, stops, cores = zip(*some, strict=True)
            self._add(Block(starts, stops, list(map(self._decode, json_of_all(cores)))))

    def _add(self, block: Block) -> None:
        block, keys = self._form.read(block)
        places = self._groups.of(keys)
        records = self._records
        records += [0] * (len(self._groups) - len(records))
        for place in places:
            records[place] += 1
        for column in self._columns:
            column.add(places, len(records), block)

    def give(self, tally: Tally) -> None:
        """Add what was read to a tally. Raises TooManyGroups."""
        cells: list[Sequence[Any]] = []
        for column in self._columns:
            counts = column.counts(self._records)
            values = column.values(tally, counts)
            held = values if all(counts) else [one if n else None for one, n in zip(values, counts, strict=True)]
            cells += held, counts
        rows: Iterable[Sequence[Any]] = zip(*cells, strict=True) if cells else repeat(())
        for key, row in zip(self._groups, rows, strict=False):
            tally.merge(self._form.in_order(key), list(row))


class Numbers(dict[Key, int]):
    """Numbers from 0 on for keys, in the order in which they come first."""

    def of(self, keys: Iterable[Key]) -> Sequence[int]:
        """The numbers of keys."""
        return list(map(self.__getitem__, keys))

    def __missing__(self, key: Key) -> int:
        number = self[key] = len(self)
        return number


class _Column:
    """A measure: how many terms each group has is kept only as far as it is not the number of its records."""

    def __init__(self) -> None:
        self._values: list[int] = []
        self._more: Counter[int] = Counter()

    def add(self, places: Sequence[int], groups: int, block: Block) -> None:
        """Add a block; `places` are the groups of its records, of so many groups in all."""
        raise NotImplementedError

    def counts(self, records: Sequence[int]) -> Sequence[int]:
        """The terms of each group, which has so many records."""
        more = self._more
        return [number + more[place] for place, number in enumerate(records)] if more else records

    def values(self, tally: Tally, counts: Sequence[int]) -> Sequence[Any]:
        """The value of each group; anything where there is no term."""
        raise NotImplementedError

    def _grow(self, size: int, first: int) -> list[int]:
        self._values += [first] * (size - len(self._values))
        return self._values

    def _count(self, places: Sequence[int], terms: Sequence[int]) -> None:
        """Records of these groups gave terms to those."""
        if terms is not places:
            self._more.subtract(places)
            self._more.update(terms)


class _Count(_Column):
    def add(self, places: Sequence[int], groups: int, block: Block) -> None:
        """See _Column."""

    def values(self, tally: Tally, counts: Sequence[int]) -> Sequence[Any]:
        """See _Column."""
        del tally
        return counts


class _Extreme(_Column):
    def __init__(self, measure: Extreme) -> None:
        super().__init__()
        self._measure = measure

    def add(self, places: Sequence[int], groups: int, block: Block) -> None:
        """See _Column."""
        terms, (moments,) = _complete(places, [block.moments(self._measure.column)])
        self._count(places, terms)
        if self._measure.latest:
            values = self._grow(groups, -_FAR)
            for place, moment in zip(terms, moments, strict=True):
                if moment > values[place]:  # noqa: PLR1730 - a call takes twice the time
                    values[place] = moment
        else:
            values = self._grow(groups, _FAR)
            for place, moment in zip(terms, moments, strict=True):
                if moment < values[place]:  # noqa: PLR1730
                    values[place] = moment

    def values(self, tally: Tally, counts: Sequence[int]) -> Sequence[Any]:
        """See _Column."""
        del tally, counts
        return self._values


class _Spots(Numbers):
    """Numbers for pairs of a group and scores."""

    def __init__(self) -> None:
        super().__init__()
        self._last: tuple[Sequence[int], Sequence[int]] = (), ()

    def at(self, places: Sequence[int], scores: Iterable[Sequence[float]]) -> Sequence[int]:
        """The numbers of groups with their scores; asked again about the same list, those found before."""
        if self._last[0] is not places:
            self._last = places, self.of(zip(places, *scores, strict=True))
        return self._last[1]


class _Product(_Column):
    """A sum of products: by group, or by group and the scores to be multiplied by."""

    def __init__(self, measure: Product, spots: _Spots) -> None:
        super().__init__()
        self._span = measure.span
        self._names = [factor.component for factor in measure.factors]
        self._wanted = [(place, score) for place, factor in enumerate(measure.factors) for score in factor.scores]
        self._spots = spots

    def add(self, places: Sequence[int], groups: int, block: Block) -> None:
        """See _Column."""
        terms, columns = _complete(*self._terms(places, block))
        self._count(places, terms)
        scores = len(columns) - len(self._wanted)
        numbers: Iterable[int] = columns[0]
        for others in columns[1:scores]:
            numbers = map(operator.mul, numbers, others)
        spots = self._spots.at(terms, columns[scores:]) if self._wanted else terms
        values = self._grow(len(self._spots) if self._wanted else groups, 0)
        for spot, number in zip(spots, numbers, strict=True):
            values[spot] += number

    def values(self, tally: Tally, counts: Sequence[int]) -> Sequence[Any]:
        """See _Column."""
        if not self._wanted:
            return self._values
        values: list[Any] = [None] * len(counts)
        for key, value in zip(self._spots, self._values, strict=False):
            place, term = key[0], tally.weighed(value, key[1:])
            held = values[place]
            values[place] = term if held is None else tally.plus(held, term)
        return values

    def _terms(self, places: Sequence[int], block: Block) -> tuple[Sequence[int], Sequence[Found]]:
        """The group of each term; the numbers that make it up, and the scores. Most records have a term each."""
        lengths = [] if self._span is None and self._names else [block.spans(self._span)]
        amounts = [block.amounts(name) for name in self._names]
        scores = [block.scores(self._names[place], score) for place, score in self._wanted]
        found = [one for one in (*lengths, *amounts, *scores) if one is not None]
        if len(found) == len(lengths) + len(amounts) + len(scores):
            return places, found
        named = [block.components(name) for name in self._names]
        lines = zip(places, block.spans(self._span).values, *named, strict=True)
        terms = [(place, length, *chosen) for place, length, *held in lines for chosen in product(*held)]
        places, spans, *ones = _transposed(terms, 2 + len(named))
        held = [Found(column, full=True) for column in ones]
        weights = [scores_of(held[place], score) for place, score in self._wanted]
        return places, [Found(spans, None not in spans), *map(amounts_of, held), *weights]


def _complete(places: Sequence[int], found: Sequence[Found]) -> tuple[Sequence[int], Sequence[Sequence[Any]]]:
    """The terms that have all that is needed."""
    columns = [one.values for one in found]
    if all(one.full for one in found):
        return places, columns
    rows = [row for row in zip(places, *columns, strict=True) if None not in row]
    places, *columns = _transposed(rows, 1 + len(columns))
    return places, columns


def _transposed(rows: Sequence[Sequence[Any]], columns: int) -> list[Sequence[Any]]:
    return list(zip(*rows, strict=True)) if rows else [()] * columns


def _columns(measures: Iterable[Measure]) -> list[_Column]:
    """Products times the same scores share their spots."""
    shared: dict[Any, _Spots] = {}
    columns: list[_Column] = []
    for measure in measures:
        if isinstance(measure, Extreme):
            columns.append(_Extreme(measure))
        elif measure == COUNT:
            columns.append(_Count())
        else:
            scores = tuple((factor.component, score) for factor in measure.factors for score in factor.scores)
            columns.append(_Product(measure, shared.setdefault(scores, _Spots())))
    return columns
