"""Conditions that look into a record's body, in each database's own JSON functions. Every name and value is bound."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import msgspec
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Double,
    FromClause,
    Integer,
    Numeric,
    Text,
    and_,
    case,
    cast,
    column,
    exists,
    func,
    literal,
    not_,
    or_,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, JSONPATH

from jobmeter.model.question import Bound, Op, ScoreBound
from jobmeter.store.compare import OPERATORS, compared, floor_of

_encode = msgspec.json.Encoder().encode


class BodyProbe(Protocol):
    """What a database can tell about the inside of a body."""

    def meta_holds(self, key: str, contains: Sequence[str], lacks: Sequence[str]) -> ColumnElement[bool]:
        """The list under `key` exists, holds all of `contains` and none of `lacks`."""
        ...

    def meta_holds_any(self, key: str, values: Sequence[str]) -> ColumnElement[bool]:
        """The list under `key` holds at least one of `values`."""
        ...

    def component_within(self, name: str, bounds: Sequence[Bound]) -> ColumnElement[bool]:
        """Some component called `name` has an amount within all `bounds`."""
        ...

    def score_within(self, name: str, bounds: Sequence[ScoreBound]) -> ColumnElement[bool]:
        """Some score called `name`, of any component, has a value within all `bounds`."""
        ...

    def meta_first(self, key: str) -> ColumnElement[Any]:
        """The first value of the list under `key`, or NULL."""
        ...

    def amount_first(self, name: str) -> ColumnElement[Any]:
        """The amount of the first component called `name`, or NULL."""
        ...

    def record_id(self) -> ColumnElement[Any]:
        """The record's id, whole."""
        ...

    def element(self, name: str | None, number: int) -> Element:
        """The components called `name` (None: all), one a row; `number` sets it apart in the statement."""
        ...

    def score_first(self, element: Element, name: str) -> ColumnElement[Any]:
        """The value of the element's first score called `name`, or NULL."""
        ...

    def month(self, microseconds: ColumnElement[Any]) -> ColumnElement[Any]:
        """Twelve times the year, plus the month from 0 to 11, in UTC."""
        ...

    def sum_of(self, factors: Sequence[ColumnElement[Any]], *, exact: bool) -> ColumnElement[Any]:
        """The sum of the products of whole numbers. Without `exact` it may be told as a float when it is too large."""
        ...


class Element(NamedTuple):
    """A component of each record: what it stands in, the component itself, its amount, and what makes it the one."""

    rows: FromClause
    value: ColumnElement[Any]
    amount: ColumnElement[Any]
    condition: ColumnElement[bool]


def _inside(rows: FromClause) -> ColumnElement[str]:
    """JSON with the meta and the components: cheaper than the body, which has to be put together."""
    core = rows.c.core
    braced = literal("{", Text()) + core + literal("}", Text())
    return case((func.substr(core, 1, 1) == literal("{", Text()), core), else_=braced)


def _spelled(find: Any, body: ColumnElement[str], key: str, values: Sequence[str]) -> list[ColumnElement[bool]]:
    """What the text of a body shows before it is taken apart, which costs many times more: `key` and all of `values`.

    Only words of which there is one spelling: bodies are written by one encoder, without blanks.
    """
    found = [find(body, literal(f'"{key}":[', Text())) > literal(0, Integer())] if _is_plain(key) else []
    found += [find(body, literal(f'"{value}"', Text())) > literal(0, Integer()) for value in values if _is_plain(value)]
    return found


def _is_plain(word: str) -> bool:
    return word.isascii() and word.isprintable() and not {'"', "\\"} & {*word}


class SqliteProbe:
    """SQLite's `json_each`; plain enough for the SQLite of any supported Python."""

    def __init__(self, rows: FromClause) -> None:
        self._body, self._core = rows.c.body, rows.c.core
        self._inside = _inside(rows)

    def meta_holds(self, key: str, contains: Sequence[str], lacks: Sequence[str]) -> ColumnElement[bool]:
        """See BodyProbe."""
        meta = func.json_each(self._inside, "$.meta").table_valued("key", "value", name="m")
        held = exists(
            select(literal(1))
            .select_from(meta)
            .where(
                meta.c.key == key,
                *[self._within(meta.c.value, [value]) for value in contains],
                *[not_(self._within(meta.c.value, [value])) for value in lacks],
            )
        )
        return and_(*_spelled(func.instr, self._core, key, contains), held)

    def meta_holds_any(self, key: str, values: Sequence[str]) -> ColumnElement[bool]:
        """See BodyProbe."""
        meta = func.json_each(self._inside, "$.meta").table_valued("key", "value", name="m")
        held = exists(select(literal(1)).select_from(meta).where(meta.c.key == key, self._within(meta.c.value, values)))
        return and_(*_spelled(func.instr, self._core, key, ()), held)

    def component_within(self, name: str, bounds: Sequence[Bound]) -> ColumnElement[bool]:
        """See BodyProbe."""
        component = func.json_each(self._inside, "$.components").table_valued("value", name="c")
        amount = func.json_extract(component.c.value, "$.amount")
        return exists(
            select(literal(1))
            .select_from(component)
            .where(
                func.json_extract(component.c.value, "$.name") == name,
                *[compared(amount, bound) for bound in bounds],
            )
        )

    def score_within(self, name: str, bounds: Sequence[ScoreBound]) -> ColumnElement[bool]:
        """See BodyProbe."""
        component = func.json_each(self._inside, "$.components").table_valued("value", name="c")
        score = func.json_each(component.c.value, "$.scores").table_valued("value", name="s")
        value = func.json_extract(score.c.value, "$.value")
        return exists(
            select(literal(1))
            .select_from(component, score)
            .where(
                func.json_extract(score.c.value, "$.name") == name,
                *[OPERATORS[bound.op](value, literal(bound.value, Double())) for bound in bounds],
            )
        )

    def meta_first(self, key: str) -> ColumnElement[Any]:
        """See BodyProbe."""
        meta = func.json_each(self._inside, "$.meta").table_valued("key", "value", name="m")
        return select(func.json_extract(meta.c.value, "$[0]")).where(meta.c.key == key).scalar_subquery()

    def amount_first(self, name: str) -> ColumnElement[Any]:
        """See BodyProbe."""
        part = func.json_each(self._inside, "$.components").table_valued("key", "value", name="c")
        named = func.json_extract(part.c.value, "$.name") == name
        return (
            select(func.json_extract(part.c.value, "$.amount"))
            .where(named)
            .order_by(part.c.key)
            .limit(literal(1))
            .scalar_subquery()
        )

    def record_id(self) -> ColumnElement[Any]:
        """See BodyProbe."""
        return func.json_extract(self._body, "$.record_id")

    def element(self, name: str | None, number: int) -> Element:
        """See BodyProbe."""
        part = func.json_each(self._inside, "$.components").table_valued("value", name=f"e{number}")
        value = part.c.value
        named = true() if name is None else func.json_extract(value, "$.name") == name
        return Element(part, value, func.json_extract(value, "$.amount"), named)

    def score_first(self, element: Element, name: str) -> ColumnElement[Any]:
        """See BodyProbe."""
        score = func.json_each(element.value, "$.scores").table_valued("key", "value", name="s")
        return (
            select(func.json_extract(score.c.value, "$.value"))
            .where(func.json_extract(score.c.value, "$.name") == name)
            .order_by(score.c.key)
            .limit(literal(1))
            .scalar_subquery()
        )

    def month(self, microseconds: ColumnElement[Any]) -> ColumnElement[Any]:
        """See BodyProbe."""
        seconds = floor_of(microseconds, 1_000_000)

        def part(form: str) -> ColumnElement[Any]:
            return cast(func.strftime(form, seconds, "unixepoch"), Integer)

        return part("%Y") * 12 + part("%m") - 1

    def sum_of(self, factors: Sequence[ColumnElement[Any]], *, exact: bool) -> ColumnElement[Any]:
        """See BodyProbe. A product or sum beyond 64 bits makes SQLite answer with a float, or refuse."""
        if exact:
            return func.exact_sum(*factors)
        return func.sum(functools.reduce(operator.mul, factors))

    @staticmethod
    def _within(array: ColumnElement[str], values: Sequence[str]) -> ColumnElement[bool]:
        item = func.json_each(array).table_valued("value", name="v")
        return exists(select(literal(1)).select_from(item).where(item.c.value.in_(values)))


_SIGNS = {Op.GT: ">", Op.GTE: ">=", Op.LT: "<", Op.LTE: "<=", Op.EQUALS: "=="}


class PostgresqlProbe:
    """PostgreSQL's jsonb operators."""

    def __init__(self, rows: FromClause) -> None:
        self._body, self._core = rows.c.body, rows.c.core
        self._inside = _inside(rows)

    def meta_holds(self, key: str, contains: Sequence[str], lacks: Sequence[str]) -> ColumnElement[bool]:
        """See BodyProbe. A missing key gives NULL, which no condition takes for true."""
        held = self._under(key)
        return and_(
            *_spelled(func.strpos, self._core, key, contains),
            held.is_not(None),
            *[self._has(held, value) for value in contains],
            *[not_(self._has(held, value)) for value in lacks],
        )

    def meta_holds_any(self, key: str, values: Sequence[str]) -> ColumnElement[bool]:
        """See BodyProbe."""
        held = self._under(key)
        return and_(*_spelled(func.strpos, self._core, key, ()), or_(*[self._has(held, value) for value in values]))

    def component_within(self, name: str, bounds: Sequence[Bound]) -> ColumnElement[bool]:
        """See BodyProbe. The path holds names of variables only; jsonpath numbers have no upper limit."""
        tests = "".join(f" && @.amount {_SIGNS[bound.op]} $b{number}" for number, bound in enumerate(bounds))
        variables = {"name": name} | {f"b{number}": bound.value for number, bound in enumerate(bounds)}
        return func.jsonb_path_exists(
            cast(self._inside, JSONB).op("->")(literal("components", Text())),
            cast(literal(f"strict $[*] ? (@.name == $name{tests})", Text()), JSONPATH),
            cast(literal(_encode(variables).decode(), Text()), JSONB),
        )

    def score_within(self, name: str, bounds: Sequence[ScoreBound]) -> ColumnElement[bool]:
        """See BodyProbe."""
        tests = "".join(f" && @.value {_SIGNS[bound.op]} $b{number}" for number, bound in enumerate(bounds))
        variables = {"name": name} | {f"b{number}": bound.value for number, bound in enumerate(bounds)}
        return func.jsonb_path_exists(
            cast(self._inside, JSONB).op("->")(literal("components", Text())),
            cast(literal(f"strict $[*].scores[*] ? (@.name == $name{tests})", Text()), JSONPATH),
            cast(literal(_encode(variables).decode(), Text()), JSONB),
        )

    def meta_first(self, key: str) -> ColumnElement[Any]:
        """See BodyProbe."""
        return self._under(key).op("->>")(literal(0, Integer()))

    def amount_first(self, name: str) -> ColumnElement[Any]:
        """See BodyProbe."""
        found = func.jsonb_path_query_first(
            cast(self._inside, JSONB).op("->")(literal("components", Text())),
            cast(literal("strict $[*] ? (@.name == $name).amount", Text()), JSONPATH),
            cast(literal(_encode({"name": name}).decode(), Text()), JSONB),
        )
        return cast(found.op("#>>")(cast(literal("{}", Text()), ARRAY(Text))), BigInteger)

    def record_id(self) -> ColumnElement[Any]:
        """See BodyProbe."""
        return cast(self._body, JSONB).op("->>")(literal("record_id", Text()))

    def element(self, name: str | None, number: int) -> Element:
        """See BodyProbe."""
        components = cast(self._inside, JSONB).op("->")(literal("components", Text()))
        part = func.jsonb_array_elements(components).table_valued(column("value", JSONB), name=f"e{number}")
        value = part.c.value
        named = true() if name is None else value.op("->>")(literal("name", Text())) == literal(name, Text())
        amount = cast(value.op("->>")(literal("amount", Text())), Numeric)
        return Element(part, value, amount, named)

    def score_first(self, element: Element, name: str) -> ColumnElement[Any]:
        """See BodyProbe."""
        found = func.jsonb_path_query_first(
            element.value,
            cast(literal("strict $.scores[*] ? (@.name == $name).value", Text()), JSONPATH),
            cast(literal(_encode({"name": name}).decode(), Text()), JSONB),
        )
        return cast(found.op("#>>")(cast(literal("{}", Text()), ARRAY(Text))), Numeric)

    def month(self, microseconds: ColumnElement[Any]) -> ColumnElement[Any]:
        """See BodyProbe."""
        moment = func.timezone("UTC", func.to_timestamp(cast(floor_of(microseconds, 1_000_000), Double)))
        year, month = (cast(func.date_part(part, moment), BigInteger) for part in ("year", "month"))
        return year * 12 + month - 1

    def sum_of(self, factors: Sequence[ColumnElement[Any]], *, exact: bool) -> ColumnElement[Any]:
        """See BodyProbe. Always exact."""
        del exact
        return func.sum(functools.reduce(operator.mul, [cast(factor, Numeric) for factor in factors]))

    def _under(self, key: str) -> ColumnElement[object]:
        return cast(self._inside, JSONB).op("->")(literal("meta", Text())).op("->")(literal(key, Text()))

    @staticmethod
    def _has(held: ColumnElement[object], value: str) -> ColumnElement[bool]:
        return held.bool_op("@>")(func.jsonb_build_array(literal(value, Text())))
