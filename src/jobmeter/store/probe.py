"""Conditions that look into a record's body, in each database's own JSON functions. Every name and value is bound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec
from sqlalchemy import ColumnElement, Text, and_, cast, exists, func, literal, not_, or_, select
from sqlalchemy.dialects.postgresql import JSONB, JSONPATH

from jobmeter.model.question import Bound, Op
from jobmeter.store.compare import compared
from jobmeter.store.tables import records

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


class SqliteProbe:
    """SQLite's `json_each`; plain enough for the SQLite of any supported Python."""

    def meta_holds(self, key: str, contains: Sequence[str], lacks: Sequence[str]) -> ColumnElement[bool]:
        """See BodyProbe."""
        meta = func.json_each(records.c.body, "$.meta").table_valued("key", "value", name="m")
        return exists(
            select(literal(1))
            .select_from(meta)
            .where(
                meta.c.key == key,
                *[self._within(meta.c.value, [value]) for value in contains],
                *[not_(self._within(meta.c.value, [value])) for value in lacks],
            )
        )

    def meta_holds_any(self, key: str, values: Sequence[str]) -> ColumnElement[bool]:
        """See BodyProbe."""
        meta = func.json_each(records.c.body, "$.meta").table_valued("key", "value", name="m")
        return exists(select(literal(1)).select_from(meta).where(meta.c.key == key, self._within(meta.c.value, values)))

    def component_within(self, name: str, bounds: Sequence[Bound]) -> ColumnElement[bool]:
        """See BodyProbe."""
        component = func.json_each(records.c.body, "$.components").table_valued("value", name="c")
        amount = func.json_extract(component.c.value, "$.amount")
        return exists(
            select(literal(1))
            .select_from(component)
            .where(
                func.json_extract(component.c.value, "$.name") == name,
                *[compared(amount, bound) for bound in bounds],
            )
        )

    @staticmethod
    def _within(array: ColumnElement[str], values: Sequence[str]) -> ColumnElement[bool]:
        item = func.json_each(array).table_valued("value", name="v")
        return exists(select(literal(1)).select_from(item).where(item.c.value.in_(values)))


_SIGNS = {Op.GT: ">", Op.GTE: ">=", Op.LT: "<", Op.LTE: "<=", Op.EQUALS: "=="}


class PostgresqlProbe:
    """PostgreSQL's jsonb operators."""

    def meta_holds(self, key: str, contains: Sequence[str], lacks: Sequence[str]) -> ColumnElement[bool]:
        """See BodyProbe. A missing key gives NULL, which no condition takes for true."""
        held = self._under(key)
        return and_(
            held.is_not(None),
            *[self._has(held, value) for value in contains],
            *[not_(self._has(held, value)) for value in lacks],
        )

    def meta_holds_any(self, key: str, values: Sequence[str]) -> ColumnElement[bool]:
        """See BodyProbe."""
        held = self._under(key)
        return or_(*[self._has(held, value) for value in values])

    def component_within(self, name: str, bounds: Sequence[Bound]) -> ColumnElement[bool]:
        """See BodyProbe. The path holds names of variables only; jsonpath numbers have no upper limit."""
        tests = "".join(f" && @.amount {_SIGNS[bound.op]} $b{number}" for number, bound in enumerate(bounds))
        variables = {"name": name} | {f"b{number}": bound.value for number, bound in enumerate(bounds)}
        return func.jsonb_path_exists(
            cast(records.c.body, JSONB).op("->")(literal("components", Text())),
            cast(literal(f"strict $[*] ? (@.name == $name{tests})", Text()), JSONPATH),
            cast(literal(_encode(variables).decode(), Text()), JSONB),
        )

    @staticmethod
    def _under(key: str) -> ColumnElement[object]:
        return cast(records.c.body, JSONB).op("->")(literal("meta", Text())).op("->")(literal(key, Text()))

    @staticmethod
    def _has(held: ColumnElement[object], value: str) -> ColumnElement[bool]:
        return held.bool_op("@>")(func.jsonb_build_array(literal(value, Text())))
