"""What of a body is decoded for a question, and how the parts of a key and the conditions are read from it."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import compress
from typing import Any

import msgspec

from jobmeter.model.question import Bound, Column, ComponentCondition, MetaCondition, Op, Question, ScoreBound
from jobmeter.model.record import from_microseconds
from jobmeter.model.total import (
    AmountDimension,
    Dimension,
    FieldDimension,
    MetaDimension,
    Span,
    TimeDimension,
    TimeUnit,
    TotalQuestion,
)
from jobmeter.store.facet import FACET_OF_KEY
from jobmeter.store.grouped import DAY_US


class Block:
    """Some records, a list for each of start, stop and decoded body; what is read of them is read once."""

    def __init__(self, starts: Sequence[int], stops: Sequence[int | None], found: Sequence[Any]) -> None:
        self.starts = starts
        self.stops = stops
        self.found = found
        self._spans: dict[Span | None, Sequence[int | None]] = {None: [1] * len(starts)}
        self._components: dict[str, Sequence[Sequence[Any]]] = {}

    def spans(self, span: Span | None) -> Sequence[int | None]:
        """Whole seconds or microseconds, None while a job runs; 1 where no span is asked for."""
        if span not in self._spans:
            unit = 1_000_000 if span is Span.RUNTIME else 1
            pairs = zip(self.starts, self.stops, strict=True)
            self._spans[span] = [None if stop is None else (stop - start) // unit for start, stop in pairs]
        return self._spans[span]

    def components(self, name: str) -> Sequence[Sequence[Any]]:
        """The components of this name of each record; almost always there is one."""
        if name not in self._components:
            self._components[name] = self._called(name)
        return self._components[name]

    def only(self, kept: Sequence[bool]) -> Block:
        """Those that are kept."""
        if all(kept):
            return self
        return Block(*[list(compress(column, kept)) for column in (self.starts, self.stops, self.found)])

    @cached_property
    def _shapes(self) -> Sequence[tuple[str, ...]]:
        """The names of the components of each record in their order: of many records few different ones."""
        return [tuple(map(_NAME, found.components)) for found in self.found]

    def _called(self, name: str) -> Sequence[Sequence[Any]]:
        parts = {shape: _part(shape, name) for shape in set(self._shapes)}
        if None in parts.values():
            return [[one for one in found.components if one.name == name] for found in self.found]
        pairs = zip(self.found, self._shapes, strict=True)
        return [found.components[parts[shape]] for found, shape in pairs]


_NAME = operator.attrgetter("name")


def _part(shape: Sequence[str], name: str) -> slice | None:
    """Where the components of a name stand; None where others stand between them."""
    places = [place for place, each in enumerate(shape) if each == name]
    if not places:
        return slice(0)
    return slice(places[0], places[-1] + 1) if places[-1] - places[0] < len(places) else None


KeyPart = Callable[[Block], Sequence[Any]]
"""Reads a part of the key of each record."""
Keep = Callable[[Block], Sequence[bool]]
"""Which records fulfil a condition."""

_UNNAMEABLE = re.compile(r'[\\"\x00-\x1f]')
_COMPARE: dict[Op, Callable[[Any, Any], bool]] = {
    Op.GT: operator.gt,
    Op.GTE: operator.ge,
    Op.LT: operator.lt,
    Op.LTE: operator.le,
    Op.EQUALS: operator.eq,
}


class _Score(msgspec.Struct, gc=False):
    name: str
    value: float


class _Component(msgspec.Struct, gc=False):
    name: str
    amount: int
    scores: tuple[_Score, ...]


class _Unscored(msgspec.Struct, gc=False):
    name: str
    amount: int


class Form:
    """What of a body has to be decoded: it grows while the question is gone through."""

    def __init__(self, question: TotalQuestion) -> None:
        keys = [one.key for one in question.where.meta]
        keys += [one.key for one in question.group_by if isinstance(one, MetaDimension)]
        # A field of a Struct cannot have such a name in JSON.
        self._as_table = any(_UNNAMEABLE.search(key) for key in keys)
        self._keys: dict[str, str] = {}
        self._fields: dict[str, tuple[str, Any, Any]] = {}
        scored = question.where.scores or any(
            factor.scores for measure in question.measures for factor in getattr(measure, "factors", ())
        )
        self._component: type = _Component if scored else _Unscored

    def decoder(self) -> Callable[[bytes], Any]:
        """Decodes a body as far as it is needed."""
        components: Any = tuple[self._component, ...]  # type: ignore[name-defined]
        fields: dict[str, Any] = {"components": ("components", components, ()), **self._fields}
        if self._as_table:
            fields["meta"] = ("meta", dict[str, tuple[str, ...]] | None, None)
        elif self._keys:
            names = list(self._keys.values())
            meta = msgspec.defstruct(
                "Meta",
                [(name, tuple[str, ...] | None, None) for name in names],
                rename={name: key for key, name in self._keys.items()},
                gc=False,
            )
            fields["meta"] = ("meta", meta | None, None)
        form = msgspec.defstruct("Body", list(fields.values()), kw_only=True, gc=False)
        return msgspec.json.Decoder(form).decode

    def key_part(self, dimension: Dimension) -> KeyPart:
        """Reads a part of the key, as `jobmeter.store.grouped` has it; of facets the value in place of the number."""
        match dimension:
            case MetaDimension(key):
                lists = self._meta(key)
                return lambda block: [values[0] if values else None for values in lists(block)]
            case TimeDimension(unit, column):
                return lambda block: [_stretch(unit, moment) for moment in _moments(block, column)]
            case AmountDimension(component):
                return lambda block: [ones[0].amount if ones else None for ones in block.components(component)]
            case FieldDimension(Column.RECORD_ID):
                self._fields["record_id"] = ("record_id", str)  # type: ignore[assignment]
                return lambda block: [found.record_id for found in block.found]
            case FieldDimension(Column.RUNTIME):
                return lambda block: block.spans(Span.RUNTIME)
            case FieldDimension(column):
                return lambda block: _moments(block, column)

    def conditions(self, where: Question) -> list[Keep]:
        """What a record must fulfil beyond what the columns answer."""
        return [
            *(self._holds(one) for one in where.meta if one.key not in FACET_OF_KEY),
            *map(_component_within, where.components),
            *(_score_within(one.name, one.bounds) for one in where.scores),
        ]

    def _meta(self, key: str) -> Callable[[Block], Sequence[Sequence[str] | None]]:
        """Reads the lists under a meta key, None where there is none."""
        if self._as_table:
            return lambda block: [None if found.meta is None else found.meta.get(key) for found in block.found]
        read = operator.attrgetter(self._keys.setdefault(key, f"k{len(self._keys)}"))
        return lambda block: [None if (meta := found.meta) is None else read(meta) for found in block.found]

    def _holds(self, condition: MetaCondition) -> Keep:
        lists = self._meta(condition.key)
        wanted, unwanted = set(condition.contains), set(condition.lacks)
        return lambda block: [
            held is not None and wanted.issubset(held) and unwanted.isdisjoint(held) for held in lists(block)
        ]


def _component_within(condition: ComponentCondition) -> Keep:
    name, within = condition.name, _within(condition.bounds)
    return lambda block: [
        within(ones[0].amount) if len(ones) == 1 else any(within(one.amount) for one in ones)
        for ones in block.components(name)
    ]


def _score_within(name: str, bounds: Sequence[ScoreBound]) -> Keep:
    within = _within(bounds)

    def holds(found: Any) -> bool:
        for one in found.components:
            for score in one.scores:
                if score.name == name and within(score.value):
                    return True
        return False

    return lambda block: [holds(found) for found in block.found]


def _within(bounds: Sequence[Bound] | Sequence[ScoreBound]) -> Callable[[Any], bool]:
    if len(bounds) == 1:
        compare, bound = _COMPARE[bounds[0].op], bounds[0].value
        return lambda value: compare(value, bound)
    pairs = [(_COMPARE[bound.op], bound.value) for bound in bounds]
    return lambda value: all(compare(value, bound) for compare, bound in pairs)


def _moments(block: Block, column: Column) -> Sequence[int | None]:
    return block.starts if column is Column.START_TIME else block.stops


def _stretch(unit: TimeUnit, moment_us: int | None) -> int | None:
    """The number that `jobmeter.store.grouped` groups by."""
    if moment_us is None:
        return None
    if unit in (TimeUnit.MONTH, TimeUnit.YEAR):
        moment = from_microseconds(moment_us)
        return moment.year if unit is TimeUnit.YEAR else moment.year * 12 + moment.month - 1
    day = moment_us // DAY_US
    return day if unit is TimeUnit.DAY else day - (day + 3) % 7
