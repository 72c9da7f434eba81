"""The query builder of python-auditor: the same calls give the same query string."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from datetime import datetime
from typing import Self
from urllib.parse import quote_plus

from jobmeter.client.pyauditor.values import shortest, utc

_U64 = 2**64
_OPERATORS = ("gt", "lt", "gte", "lte", "equals")


class Value:
    """What is compared with; made by its three setters."""

    _text: str

    def __new__(cls) -> Self:
        """Not to be called."""
        raise TypeError("cannot create 'Value' instances")

    @staticmethod
    def set_datetime(datetime: datetime) -> Value:
        """A moment, aware and in exactly `datetime.timezone.utc`."""
        return _value(shortest(utc(datetime)))

    @staticmethod
    def set_runtime(runtime: int) -> Value:
        """Seconds."""
        return _value(str(unsigned(runtime, _U64)))

    @staticmethod
    def set_count(count: int) -> Value:
        """A small amount, 0 to 255."""
        return _value(str(unsigned(count, 256)))

    def __str__(self) -> str:
        return self._text


def _value(text: str) -> Value:
    made = object.__new__(Value)
    made._text = text
    return made


def unsigned(number: int, end: int) -> int:
    """The number, if it is whole and from 0 to below `end`. Raises TypeError and OverflowError."""
    whole = operator.index(number)
    if whole < 0:
        raise OverflowError("can't convert negative int to unsigned")
    if whole >= end:
        raise OverflowError("number too large to fit in target type")
    return whole


class Operator:
    """Bounds of one field; a second call of one kind replaces the first."""

    def __init__(self) -> None:
        self._bounds: dict[str, Value] = {}

    def gt(self, value: Value) -> Self:
        """Greater than."""
        return self._set("gt", value)

    def lt(self, value: Value) -> Self:
        """Less than."""
        return self._set("lt", value)

    def gte(self, value: Value) -> Self:
        """Greater or equal."""
        return self._set("gte", value)

    def lte(self, value: Value) -> Self:
        """Less or equal."""
        return self._set("lte", value)

    def equals(self, value: Value) -> Self:
        """Equal."""
        return self._set("equals", value)

    def _set(self, name: str, value: Value) -> Self:
        if not isinstance(value, Value):
            raise TypeError(f"'{type(value).__name__}' object is not an instance of 'Value'")
        self._bounds[name] = value
        return self

    def pairs(self, field: str) -> Iterator[tuple[str, str]]:
        """Keys and values of the query string."""
        for name in _OPERATORS:
            if name in self._bounds:
                yield f"{field}[{name}]", str(self._bounds[name])


class MetaOperator:
    """What a list of meta holds and lacks."""

    def __init__(self) -> None:
        self._lists: dict[str, list[str]] = {}

    def contains(self, c: list[str] | str) -> Self:
        """All of these. (A single string, as before 0.10, is a list of one.)"""
        self._lists["c"] = [c] if isinstance(c, str) else list(c)
        return self

    def does_not_contain(self, dnc: list[str] | str) -> Self:
        """None of these."""
        self._lists["dnc"] = [dnc] if isinstance(dnc, str) else list(dnc)
        return self

    def pairs(self, field: str) -> Iterator[tuple[str, str]]:
        """Keys and values of the query string."""
        for name in ("c", "dnc"):
            for place, value in enumerate(self._lists.get(name, [])):
                yield f"{field}[{name}][{place}]", value


class MetaQuery:
    """Conditions on several keys of meta."""

    def __init__(self) -> None:
        self._operators: dict[str, MetaOperator] = {}

    def meta_operator(self, query_id: str, meta_operator: MetaOperator) -> Self:
        """The condition on one key."""
        self._operators[query_id] = meta_operator
        return self

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Keys and values of the query string."""
        for key, condition in self._operators.items():
            yield from condition.pairs(f"meta[{_quoted(key)}]")


class ComponentQuery:
    """Conditions on several components."""

    def __init__(self) -> None:
        self._operators: dict[str, Operator] = {}

    def component_operator(self, query_id: str, operator: Operator) -> Self:
        """The condition on one component."""
        self._operators[query_id] = operator
        return self

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Keys and values of the query string."""
        for name, condition in self._operators.items():
            yield from condition.pairs(f"component[{_quoted(name)}]")


class SortBy:
    """The order of the answer."""

    def __init__(self) -> None:
        self._columns: dict[str, str] = {}

    def ascending(self, column: str) -> Self:
        """Smallest first."""
        self._columns["asc"] = column
        return self

    def descending(self, column: str) -> Self:
        """Largest first."""
        self._columns["desc"] = column
        return self

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Keys and values of the query string."""
        for name in ("asc", "desc"):
            if name in self._columns:
                yield f"sort_by[{name}]", self._columns[name]


class QueryBuilder:
    """Puts conditions together; all of them hold."""

    def __init__(self) -> None:
        self._record_id: str | None = None
        self._fields: dict[str, Operator] = {}
        self._meta: MetaQuery | None = None
        self._component: ComponentQuery | None = None
        self._sort_by: SortBy | None = None
        self._limit: int | None = None

    def with_record_id(self, record_id: str) -> Self:
        """The record with this id."""
        self._record_id = record_id
        return self

    def with_start_time(self, operator: Operator) -> Self:
        """Bounds of the start time."""
        self._fields["start_time"] = operator
        return self

    def with_stop_time(self, operator: Operator) -> Self:
        """Bounds of the stop time."""
        self._fields["stop_time"] = operator
        return self

    def with_runtime(self, operator: Operator) -> Self:
        """Bounds of the runtime in seconds."""
        self._fields["runtime"] = operator
        return self

    def with_meta_query(self, meta: MetaQuery) -> Self:
        """Conditions on meta."""
        self._meta = meta
        return self

    def with_component_query(self, component: ComponentQuery) -> Self:
        """Conditions on components."""
        self._component = component
        return self

    def sort_by(self, sort_by: SortBy) -> Self:
        """The order."""
        self._sort_by = sort_by
        return self

    def limit(self, number: int) -> Self:
        """At most so many."""
        self._limit = unsigned(number, _U64)
        return self

    def build(self) -> str:
        """The query string, without `?`."""
        return "&".join(f"{key}={_quoted(value)}" for key, value in self._pairs())

    def _pairs(self) -> Iterator[tuple[str, str]]:
        if self._record_id is not None:
            yield "record_id", self._record_id
        for field in ("start_time", "stop_time", "runtime"):
            if field in self._fields:
                yield from self._fields[field].pairs(field)
        for part in (self._meta, self._component, self._sort_by):
            if part is not None:
                yield from part.pairs()
        if self._limit is not None:
            yield "limit", str(self._limit)


def _quoted(text: str) -> str:
    # As in HTML forms: `~` is encoded and `*` is not, unlike Python's own idea.
    return quote_plus(text, safe="*").replace("~", "%7E")
