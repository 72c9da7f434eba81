"""Which records are wanted, as a value. Whatever the names hold, they are quoted as the filter language needs it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from jobmeter.model.question import (
    Bound,
    Column,
    ComponentCondition,
    MetaCondition,
    Op,
    Order,
    Question,
    Scope,
)
from jobmeter.model.record import microseconds, name_fault
from jobmeter.query.build import query_string

ColumnName = Literal["start_time", "stop_time", "runtime", "record_id"]


class Query(Struct, frozen=True):
    """All records at first; each method gives a narrower query and leaves this one as it is. All conditions hold.

    Times are aware; `since` is included, `before` is not. A record that still runs has no stop time and no runtime, and
    matches no condition on them.
    """

    question: Question = Question(Scope.everything())

    def record_id(self, record_id: str) -> Query:
        """The record with this id."""
        return self._with(record_id=_name(record_id))

    def started(self, *, since: datetime | None = None, before: datetime | None = None) -> Query:
        """Records whose job started in this time."""
        return self._with(start_time=(*self.question.start_time, *_span(since, before)))

    def stopped(self, *, since: datetime | None = None, before: datetime | None = None) -> Query:
        """Records whose job stopped in this time."""
        return self._with(stop_time=(*self.question.stop_time, *_span(since, before)))

    def runtime(self, *, at_least: int | None = None, at_most: int | None = None) -> Query:
        """Records whose job ran for so many whole seconds."""
        return self._with(runtime=(*self.question.runtime, *_range(at_least, at_most)))

    def meta(self, key: str, *, contains: Sequence[str] = (), lacks: Sequence[str] = ()) -> Query:
        """Records whose list under `key` holds every value of `contains` and none of `lacks`; the key must be there."""
        if isinstance(contains, str) or isinstance(lacks, str):
            raise TypeError("contains and lacks are lists of strings")
        if not contains and not lacks:
            raise ValueError("say what the list contains or lacks")
        values = (tuple(map(_name, contains)), tuple(map(_name, lacks)))
        return self._with(meta=(*self.question.meta, MetaCondition(_name(key), *values)))

    def component(self, name: str, *, at_least: int | None = None, at_most: int | None = None) -> Query:
        """Records with a component of this name whose amount is within the bounds."""
        bounds = tuple(_range(at_least, at_most))
        if not bounds:
            raise ValueError("say how much at least or at most")
        return self._with(components=(*self.question.components, ComponentCondition(_name(name), bounds)))

    def as_of(self, moment: datetime) -> Query:
        """The records as they were stored at this instant: what was corrected or withdrawn later is as it was then."""
        if moment.tzinfo is None:
            raise ValueError("a time needs a zone, such as datetime.UTC")
        return self._with(as_of_us=microseconds(moment))

    def order_by(self, column: ColumnName, *, descending: bool = False) -> Query:
        """In the order of a column; without this, by stop time, running jobs last."""
        return self._with(order=Order(Column(column), descending))

    def limit(self, most: int) -> Query:
        """At most so many records."""
        if most < 0:
            raise ValueError("a limit is not negative")
        return self._with(limit=most)

    def __str__(self) -> str:
        """The query string, without `?`. Raises ValueError where two conditions on one field say the same bound."""
        return query_string(self.question)

    def _with(self, **changes: object) -> Query:
        return Query(replace(self.question, **changes))


def _name(name: str) -> str:
    if (reason := name_fault(name)) is not None:
        raise ValueError(f"the name {name[:64]!r} {reason}")
    return name


def _span(since: datetime | None, before: datetime | None) -> list[Bound]:
    bounds = [(Op.GTE, since), (Op.LT, before)]
    if any(moment is not None and moment.tzinfo is None for _, moment in bounds):
        raise ValueError("a time needs a zone, such as datetime.UTC")
    return [Bound(op, microseconds(moment)) for op, moment in bounds if moment is not None]


def _range(at_least: int | None, at_most: int | None) -> list[Bound]:
    return [Bound(op, value) for op, value in ((Op.GTE, at_least), (Op.LTE, at_most)) if value is not None]
