"""The filter language of `GET /records`: from a query string to a question.

The language is AUDITOR's, of all client generations, read by its intention: conditions are combined with AND, also
`gt` with `gte`; `equals` works on times too; nothing that was asked is passed over in silence. An empty value means
"not given", as there, except inside a list of meta values, where dropping it would widen the answer.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from typing import TypeVar

from jobmeter.model.question import (
    Bound,
    Column,
    ComponentCondition,
    MetaCondition,
    Op,
    Order,
    Question,
    Scope,
    ScoreBound,
    ScoreCondition,
)
from jobmeter.model.record import AMOUNT_MAX, microseconds, name_fault
from jobmeter.query.fault import BadQuery, shown
from jobmeter.query.pairs import Pair, pairs
from jobmeter.wire.auditor import parse_time

__all__ = ["BadQuery", "Draft", "parse_instant", "parse_question", "question_of"]

N = TypeVar("N", int, float)

_COUNT_MAX = 2**64 - 1
"""The largest number that AUDITOR's clients can send; what is stored ends at AMOUNT_MAX."""
_WHOLE = re.compile(r"\+?[0-9]{1,40}")
_DECIMAL = re.compile(r"[+-]?([0-9]{1,40}\.?[0-9]{0,40}|\.[0-9]{1,40})([eE][+-]?[0-9]{1,3})?")
_INDEX = re.compile(r"[0-9]{1,9}")
_LAST = 10**9

_KEYS = ("record_id", "start_time", "stop_time", "runtime", "meta", "component", "sort_by", "limit", "score", "as_of")
_OPS = (Op.GT, Op.LT, Op.GTE, Op.LTE, Op.EQUALS)
_OP_NAMES = tuple(op.value for op in _OPS)
_META_OPS = ("c", "dnc")
_DIRECTIONS = ("asc", "desc")
_COLUMNS = tuple(column.value for column in Column)


def parse_question(query: bytes | str, scope: Scope) -> Question:
    """The question that a query string (without `?`) asks within `scope`. Raises BadQuery and nothing else.

    Bounds come in the order gt, lt, gte, lte, equals. A bound that no stored number can satisfy stands alone, as
    "greater than the largest"; one that every number satisfies is "at most the largest", as a record without the
    number still fails it.
    """
    return question_of(pairs(query), scope)


def parse_instant(query: bytes | str) -> int | None:
    """The instant in a query string that may name one and nothing else: microseconds since 1970. Raises BadQuery."""
    draft = Draft()
    for pair in pairs(query):
        if pair.path[0] != "as_of":
            raise BadQuery("", _unknown("field", shown(pair.path[0]), ("as_of",)))
        draft.take(pair)
    return draft.as_of_us


def question_of(conditions: Iterable[Pair], scope: Scope) -> Question:
    """As `parse_question`, of pairs."""
    draft = Draft()
    for pair in conditions:
        draft.take(pair)
    return draft.question(scope)


class Draft:
    """What the pairs looked at so far have said. Lives for one query string; raises BadQuery."""

    def __init__(self) -> None:
        self.given: set[tuple[str, ...]] = set()
        self.single: dict[str, str] = {}
        self.bounds: dict[str, dict[Op, int]] = {"start_time": {}, "stop_time": {}, "runtime": {}}
        self.components: dict[str, dict[Op, int]] = {}
        self.scores: dict[str, dict[Op, float]] = {}
        self.meta: dict[str, dict[str, list[tuple[int, str]]]] = {}
        self.order: dict[str, Column] = {}
        self.as_of_us: int | None = None

    def take(self, pair: Pair) -> None:
        """Understand one pair."""
        match pair.path[0]:
            case "record_id" | "limit" | "as_of":
                self._single(pair)
            case "start_time" | "stop_time":
                self._bound(pair, 1, self.bounds[pair.path[0]], _moment)
            case "runtime":
                self._bound(pair, 1, self.bounds["runtime"], _whole)
            case "component":
                self._named(pair, self.components, _whole)
            case "score":
                self._named(pair, self.scores, _decimal)
            case "meta":
                self._meta(pair)
            case "sort_by":
                self._sort_by(pair)
            case unknown:
                raise BadQuery("", _unknown("field", shown(unknown), _KEYS))

    def question(self, scope: Scope) -> Question:
        """The whole, once every pair has been taken."""
        return Question(
            scope=scope,
            record_id=self.single.get("record_id"),
            start_time=_together(self.bounds["start_time"]),
            stop_time=_together(self.bounds["stop_time"]),
            runtime=_together(self.bounds["runtime"]),
            meta=tuple(
                MetaCondition(key, _values(lists.get("c", [])), _values(lists.get("dnc", [])))
                for key, lists in self.meta.items()
            ),
            components=tuple(ComponentCondition(name, _together(bounds)) for name, bounds in self.components.items()),
            scores=tuple(
                ScoreCondition(name, tuple(ScoreBound(op, bounds[op]) for op in _OPS if op in bounds))
                for name, bounds in self.scores.items()
            ),
            order=self._order(),
            limit=min(int(self.single["limit"]), AMOUNT_MAX) if "limit" in self.single else None,
            as_of_us=self.as_of_us,
        )

    def _order(self) -> Order:
        if "asc" in self.order:
            return Order(self.order["asc"])
        if "desc" in self.order:
            return Order(self.order["desc"], descending=True)
        return Order()

    def once(self, pair: Pair, path: tuple[str, ...]) -> None:
        """Refuse what was given before."""
        if path in self.given:
            raise BadQuery("", f'Multiple values for one key: "{pair.key}"')
        self.given.add(path)

    def _single(self, pair: Pair) -> None:
        if len(pair.path) != 1:
            raise BadQuery(pair.key, f"takes one value, written {pair.path[0]}=value")
        self.once(pair, pair.path)
        if not pair.value:
            return
        if pair.path[0] == "limit":
            self.single["limit"] = str(_whole(pair))
        elif pair.path[0] == "as_of":
            self.as_of_us = _moment(pair)
        else:
            self.single["record_id"] = _name(pair.value, pair.key)

    def _bound(self, pair: Pair, depth: int, into: dict[Op, N], read: Callable[[Pair], N]) -> None:
        """Takes `[op]=value`, which stands behind the first `depth` names of the path."""
        if len(pair.path) != depth + 1:
            if len(pair.path) == depth and not pair.value:
                return
            raise BadQuery(pair.key, f"needs one operator in brackets: {_choice(_OP_NAMES)}")
        if pair.path[depth] not in _OP_NAMES:
            raise BadQuery(pair.key, _unknown("field", shown(pair.path[depth]), _OP_NAMES))
        self.once(pair, pair.path)
        if pair.value:
            into[Op(pair.path[depth])] = read(pair)

    def _named(self, pair: Pair, into: dict[str, dict[Op, N]], read: Callable[[Pair], N]) -> None:
        """Takes `component[NAME][op]=value` or `score[NAME][op]=value`."""
        if len(pair.path) == 1:
            if pair.value:
                raise BadQuery(
                    pair.key, f"needs a {pair.path[0]}'s name and an operator, such as {pair.path[0]}[cpu][gt]=4"
                )
            return
        name = _name(pair.path[1], pair.key)
        bounds = into.get(name, {})
        self._bound(pair, 2, bounds, read)
        if bounds:
            into[name] = bounds

    def _meta(self, pair: Pair) -> None:
        if len(pair.path) < 3:
            if pair.value:
                raise BadQuery(pair.key, "needs a key and an operator, such as meta[site_id][c][0]=value")
            return
        key, op = _name(pair.path[1], pair.key), pair.path[2]
        if op not in _META_OPS:
            raise BadQuery(pair.key, _unknown("field", shown(op), _META_OPS))
        if len(pair.path) > 4:
            raise BadQuery(pair.key, "is nested too deeply")
        place = self._place(pair)
        if len(pair.path) == 4 or pair.value:
            item = (place, _name(pair.value, pair.key))
            self.meta.setdefault(key, {}).setdefault(op, []).append(item)

    def _place(self, pair: Pair) -> int:
        """Where in its list a meta value stands: at its index, or behind all indices when it has none."""
        index = pair.path[3] if len(pair.path) == 4 else None
        if index == "":
            return _LAST
        if index is None:
            self.once(pair, pair.path)
            return _LAST
        if _INDEX.fullmatch(index) is None:
            raise BadQuery(pair.key, f"`{shown(index)}` is not an index: invalid digit found in string")
        self.once(pair, (*pair.path[:3], str(int(index))))
        return int(index)

    def _sort_by(self, pair: Pair) -> None:
        if len(pair.path) != 2:
            if len(pair.path) == 1 and not pair.value:
                return
            raise BadQuery(pair.key, "needs a direction, such as sort_by[asc]=stop_time")
        direction = pair.path[1]
        if direction not in _DIRECTIONS:
            raise BadQuery(pair.key, _unknown("variant", shown(direction), _DIRECTIONS))
        self.once(pair, pair.path)
        if not pair.value:
            return
        if pair.value not in _COLUMNS:
            raise BadQuery(pair.key, _unknown("variant", shown(pair.value), _COLUMNS))
        self.order[direction] = Column(pair.value)


def _unknown(what: str, found: str, known: tuple[str, ...]) -> str:
    return f"unknown {what} `{found}`, expected {_choice(known)}"


def _choice(known: tuple[str, ...]) -> str:
    names = [f"`{name}`" for name in known]
    return " or ".join(names) if len(names) <= 2 else f"one of {', '.join(names)}"


def _name(value: str, key: str) -> str:
    if (reason := name_fault(value)) is not None:
        raise BadQuery(key, f"the name {shown(value)!r} {reason}")
    return value


def _whole(pair: Pair) -> int:
    number = int(pair.value) if _WHOLE.fullmatch(pair.value) else None
    if number is None or number > _COUNT_MAX:
        raise BadQuery(pair.key, f"Parsing {shown(pair.value)!r} failed: not a whole number from 0 to {_COUNT_MAX}")
    return number


def _decimal(pair: Pair) -> float:
    number = float(pair.value) if _DECIMAL.fullmatch(pair.value) else math.inf
    if not math.isfinite(number):
        raise BadQuery(pair.key, f"Parsing {shown(pair.value)!r} failed: not a finite number")
    return number


def _moment(pair: Pair) -> int:
    try:
        return microseconds(parse_time(pair.value))
    except ValueError as fault:
        hint = " (a `+` in a query string means a blank: write it %2B)" if " " in pair.value else ""
        raise BadQuery(pair.key, f"{fault}{hint}") from None


def _together(bounds: dict[Op, int]) -> tuple[Bound, ...]:
    beyond = {op for op, number in bounds.items() if number > AMOUNT_MAX}
    if beyond - {Op.LT, Op.LTE}:
        return (Bound(Op.GT, AMOUNT_MAX),)
    within = tuple(Bound(op, bounds[op]) for op in _OPS if op in bounds and op not in beyond)
    return within or ((Bound(Op.LTE, AMOUNT_MAX),) if beyond else ())


def _values(placed: list[tuple[int, str]]) -> tuple[str, ...]:
    return tuple(value for _, value in sorted(placed, key=lambda item: item[0]))
