"""Records that are read for sums come in blocks, column by column: a loop over a list costs half of a call for each."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from functools import cached_property
from itertools import compress
from typing import Any, NamedTuple

from jobmeter.model.question import Column
from jobmeter.model.total import Span


class Found(NamedTuple):
    """What each record of a block has of something, None where it has it not; `full`: all have it."""

    values: Sequence[Any]
    full: bool


class Block:
    """Some records, a list for each of start, stop and decoded body; what is read of them is read once."""

    def __init__(self, starts: Sequence[int], stops: Sequence[int | None], found: Sequence[Any]) -> None:
        self.starts = starts
        self.stops = stops
        self.found = found
        self._spans: dict[Span | None, Found] = {None: Found([1] * len(starts), full=True)}
        self._ones: dict[str, Found | None] = {}
        self._amounts: dict[str, Found] = {}
        self._scores: dict[tuple[str, str], Found] = {}

    def spans(self, span: Span | None) -> Found:
        """Whole seconds or microseconds, None while a job runs; 1 where no span is asked for."""
        if span not in self._spans:
            unit = 1_000_000 if span is Span.RUNTIME else 1
            pairs = zip(self.starts, self.stops, strict=True)
            lengths = [None if stop is None else (stop - start) // unit for start, stop in pairs]
            self._spans[span] = Found(lengths, self._stopped.full)
        return self._spans[span]

    def moments(self, column: Column) -> Found:
        """Starts or stops."""
        return Found(self.starts, full=True) if column is Column.START_TIME else self._stopped

    def components(self, name: str) -> Sequence[Sequence[Any]]:
        """The components of this name of each record, however many."""
        return [[one for one in found.components if one.name == name] for found in self.found]

    def ones(self, name: str) -> Found | None:
        """The component of this name of each record; None altogether where a record has several."""
        if name not in self._ones:
            self._ones[name] = self._called(name)
        return self._ones[name]

    def amounts(self, name: str) -> Found | None:
        """The amounts of `ones`."""
        ones = self.ones(name)
        if ones is not None and name not in self._amounts:
            self._amounts[name] = amounts_of(ones)
        return None if ones is None else self._amounts[name]

    def scores(self, name: str, score: str) -> Found | None:
        """The values of a score of `ones`."""
        ones = self.ones(name)
        if ones is not None and (name, score) not in self._scores:
            self._scores[name, score] = scores_of(ones, score)
        return None if ones is None else self._scores[name, score]

    def only(self, kept: Sequence[bool]) -> Block:
        """Those that are kept."""
        if all(kept):
            return self
        return Block(*[list(compress(column, kept)) for column in (self.starts, self.stops, self.found)])

    @cached_property
    def _stopped(self) -> Found:
        return Found(self.stops, None not in self.stops)

    @cached_property
    def _shapes(self) -> Sequence[tuple[str, ...]]:
        """The names of the components of each record in their order: of many records few different ones."""
        return [tuple(map(_NAME, found.components)) for found in self.found]

    def _called(self, name: str) -> Found | None:
        shapes = set(self._shapes)
        if any(shape.count(name) > 1 for shape in shapes):
            return None
        places = {shape: shape.index(name) if name in shape else None for shape in shapes}
        different = set(places.values())
        full = None not in different
        if full and len(different) == 1:
            (place,) = different
            return Found([found.components[place] for found in self.found], full)
        pairs = zip(self.found, map(places.__getitem__, self._shapes), strict=True)
        return Found([None if place is None else found.components[place] for found, place in pairs], full)


def amounts_of(ones: Found) -> Found:
    """The amounts of components."""
    if ones.full:
        return Found([one.amount for one in ones.values], full=True)
    return Found([None if one is None else one.amount for one in ones.values], full=False)


def scores_of(ones: Found, name: str) -> Found:
    """The values of a score of components, the first where one has several."""
    held = [() if one is None else one.scores for one in ones.values]
    values = [scores[0].value if scores and scores[0].name == name else _score(scores, name) for scores in held]
    return Found(values, None not in values)


def _score(scores: Sequence[Any], name: str) -> float | None:
    for score in scores[1:]:
        if score.name == name:
            value: float = score.value
            return value
    return None


_NAME = operator.attrgetter("name")
