"""What of a body is decoded for a question, and how keys and conditions are read from it."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from itertools import compress
from typing import Any

import msgspec

from jobmeter.model.question import Bound, Column, ComponentCondition, MetaCondition, Op, Question, Scope, ScoreBound
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
from jobmeter.store.read_block import Block, Found

Key = tuple[Any, ...]
"""The first values of meta in one tuple, then the other parts."""
Part = Callable[[Block], Sequence[Any]]
"""Reads a part of the key of each record."""
Keep = Callable[[Block], Sequence[bool]]
"""Which records fulfil a condition."""

TEXTS_MAX = 10_000
TEXT_BYTES_MAX = 2_000
"""So many texts of meta are remembered, none that is longer."""

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
    """How the bodies of records are read for a question.

    `whole`: all conditions are looked at here, not only those that the columns of the table do not answer.
    """

    def __init__(self, question: TotalQuestion, *, whole: bool = False) -> None:
        where = question.where
        keys = [one.key for one in question.group_by if isinstance(one, MetaDimension)]
        conditions = [one for one in where.meta if whole or one.key not in FACET_OF_KEY]
        scope = where.scope if whole else Scope.everything()
        self._metas = _Metas(keys, conditions, scope) if keys or conditions or scope.any_of is not None else None
        self._with_ids = FieldDimension(Column.RECORD_ID) in question.group_by
        factors = [factor for measure in question.measures for factor in getattr(measure, "factors", ())]
        asked = [(factor.component, score) for factor in factors for score in factor.scores]
        self._with_scores = bool(where.scores or asked)
        self._keeps = [*(_of_columns(where) if whole else ()), *map(_component_within, where.components)]
        self._keeps += [_score_within(one.name, one.bounds, asked) for one in where.scores]
        self._parts = [_part(one) for one in question.group_by if not isinstance(one, MetaDimension)]
        first = sorted(range(len(question.group_by)), key=lambda n: not isinstance(question.group_by[n], MetaDimension))
        places = [first.index(number) for number in range(len(first))]
        self._in_place = None if places == sorted(places) else operator.itemgetter(*places)

    def decoder(self) -> Callable[[bytes], Any]:
        """Decodes a body as far as it is needed."""
        component: type = _Component if self._with_scores else _Unscored
        fields: list[tuple[str, Any, Any]] = [("components", tuple[component, ...], ())]  # type: ignore[valid-type]
        if self._metas is not None:
            fields.append(("meta", msgspec.Raw, msgspec.Raw(b"null")))
        if self._with_ids:
            fields.append(("record_id", str, ""))
        return msgspec.json.Decoder(msgspec.defstruct("Body", fields, gc=False)).decode

    def read(self, block: Block) -> tuple[Block, Iterable[Key]]:
        """The records that fulfil the conditions, and the key of each."""
        metas: Sequence[Any] = [()] * len(block.starts)
        if self._metas is not None:
            metas = list(map(self._metas.__getitem__, map(bytes, map(_META, block.found))))
            block, metas = _only(block, metas, [meta is not None for meta in metas])
        for keep in self._keeps:
            block, metas = _only(block, metas, keep(block))
        return block, zip(metas, *[part(block) for part in self._parts], strict=True)

    def in_order(self, key: Key) -> tuple[Any, ...]:
        """The parts of a key, each in the place of its dimension."""
        parts: tuple[Any, ...] = key[0] + key[1:]
        return parts if self._in_place is None else self._in_place(parts)


def _only(block: Block, metas: Sequence[Any], kept: Sequence[bool]) -> tuple[Block, Sequence[Any]]:
    return (block, metas) if all(kept) else (block.only(kept), list(compress(metas, kept)))


class _Metas(dict[bytes, Any]):
    """By the text of a meta: the first values under some keys; None where it does not fulfil the conditions.

    Users, hosts and groups are few beside jobs, so most records have a meta that another had, letter by letter.
    """

    def __init__(self, keys: Sequence[str], conditions: Iterable[MetaCondition], scope: Scope) -> None:
        super().__init__()
        self._keys = keys
        self._conditions = [(one.key, set(one.contains), set(one.lacks)) for one in conditions]
        self._scope = scope

    def __missing__(self, text: bytes) -> tuple[str | None, ...] | None:
        read = self._read(_decode_meta(text) or {})
        if len(text) <= TEXT_BYTES_MAX:
            if len(self) >= TEXTS_MAX:
                self.clear()
            self[text] = read
        return read

    def _read(self, meta: dict[str, tuple[str, ...]]) -> tuple[str | None, ...] | None:
        if not self._scope.sees(meta):
            return None
        for key, wanted, unwanted in self._conditions:
            held = meta.get(key)
            if held is None or not wanted.issubset(held) or not unwanted.isdisjoint(held):
                return None
        return tuple([values[0] if (values := meta.get(key)) else None for key in self._keys])


_META = operator.attrgetter("meta")
_decode_meta = msgspec.json.Decoder(dict[str, tuple[str, ...]] | None).decode


def _part(dimension: Dimension) -> Part:
    """Reads a part of the key, as `jobmeter.store.grouped` has it; of facets the value in place of the number."""
    match dimension:
        case TimeDimension(unit, column):
            return lambda block: [_stretch(unit, moment) for moment in block.moments(column).values]
        case AmountDimension(component):
            return lambda block: _first_amounts(block, component)
        case FieldDimension(Column.RECORD_ID):
            return lambda block: [found.record_id for found in block.found]
        case FieldDimension(Column.RUNTIME):
            return lambda block: block.spans(Span.RUNTIME).values
        case FieldDimension(column):
            return lambda block: block.moments(column).values
        case MetaDimension():
            raise AssertionError("values of meta are read together")


def _first_amounts(block: Block, component: str) -> Sequence[int | None]:
    amounts = block.amounts(component)
    if amounts is not None:
        return amounts.values
    return [ones[0].amount if ones else None for ones in block.components(component)]


def _of_columns(where: Question) -> list[Keep]:
    """The conditions that the columns of the table answer, but for meta and the stop."""
    keeps: list[Keep] = []
    if where.start_time:
        started = _within(where.start_time)
        keeps.append(lambda block: [started(start) for start in block.starts])
    if where.runtime:
        ran = _within(where.runtime)
        keeps.append(lambda block: [span is not None and ran(span) for span in block.spans(Span.RUNTIME).values])
    return keeps


def _component_within(condition: ComponentCondition) -> Keep:
    name, within = condition.name, _within(condition.bounds)

    def holds(block: Block) -> Sequence[bool]:
        amounts = block.amounts(name)
        if amounts is None:
            return [any(within(one.amount) for one in ones) for ones in block.components(name)]
        return _fulfil(amounts, within)

    return holds


def _score_within(name: str, bounds: Sequence[ScoreBound], asked: Iterable[tuple[str, str]]) -> Keep:
    """Whether any component has such a score: first the one is looked at whose score is asked for, too."""
    within = _within(bounds)
    first = next((component for component, score in asked if score == name), None)

    def any_holds(found: Any) -> bool:
        return any(within(score.value) for one in found.components for score in one.scores if score.name == name)

    def holds(block: Block) -> Sequence[bool]:
        scores = None if first is None else block.scores(first, name)
        if scores is None:
            return [any_holds(found) for found in block.found]
        kept = _fulfil(scores, within)
        if all(kept):
            return kept
        return [is_within or any_holds(found) for is_within, found in zip(kept, block.found, strict=True)]

    return holds


def _fulfil(found: Found, within: Callable[[Any], bool]) -> Sequence[bool]:
    values = found.values
    if found.full and values and within(min(values)) and within(max(values)):
        return [True] * len(values)
    return [value is not None and within(value) for value in values]


def _within(bounds: Sequence[Bound] | Sequence[ScoreBound]) -> Callable[[Any], bool]:
    pairs = [(_COMPARE[bound.op], bound.value) for bound in bounds]
    if len(pairs) == 1:
        ((compare, bound),) = pairs
        return lambda value: compare(value, bound)
    return lambda value: all(compare(value, bound) for compare, bound in pairs)


def _stretch(unit: TimeUnit, moment_us: int | None) -> int | None:
    """The number that `jobmeter.store.grouped` groups by."""
    if moment_us is None:
        return None
    if unit in (TimeUnit.MONTH, TimeUnit.YEAR):
        moment = from_microseconds(moment_us)
        return moment.year if unit is TimeUnit.YEAR else moment.year * 12 + moment.month - 1
    day = moment_us // DAY_US
    return day if unit is TimeUnit.DAY else day - (day + 3) % 7
