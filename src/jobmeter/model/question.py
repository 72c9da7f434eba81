"""A question to the record store, as a value. Every question carries a scope: who asks may see what."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from msgspec import Struct


class Op(Enum):
    """How a value is compared with a bound."""

    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    EQUALS = "equals"


class Bound(Struct, frozen=True):
    """One comparison with a whole number: microseconds since 1970 for times, seconds for runtimes, else an amount."""

    op: Op
    value: int


class MetaCondition(Struct, frozen=True):
    """The list under meta `key` holds every value of `contains` and none of `lacks`; a record without `key` fails."""

    key: str
    contains: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()


class ComponentCondition(Struct, frozen=True):
    """Some component called `name` has an amount within all `bounds`."""

    name: str
    bounds: tuple[Bound, ...]


class ScoreBound(Struct, frozen=True):
    """One comparison of a score with a finite number."""

    op: Op
    value: float


class ScoreCondition(Struct, frozen=True):
    """Some score called `name`, of any component, has a value within all `bounds`."""

    name: str
    bounds: tuple[ScoreBound, ...]


class Column(Enum):
    """What records can be ordered by."""

    START_TIME = "start_time"
    STOP_TIME = "stop_time"
    RUNTIME = "runtime"
    RECORD_ID = "record_id"


class Order(Struct, frozen=True):
    """Ascending puts records without the value last, descending puts them first; ties follow the order of insertion."""

    column: Column = Column.STOP_TIME
    descending: bool = False


class Rule(Struct, frozen=True):
    """The meta list under `key` holds at least one of `values`."""

    key: str
    values: tuple[str, ...]

    def holds(self, meta: Mapping[str, tuple[str, ...]] | None) -> bool:
        """Whether a record with this meta keeps the rule."""
        return not set(self.values).isdisjoint((meta or {}).get(self.key, ()))


class Scope(Struct, frozen=True):
    """The rows that the asker may see: all (`any_of` is None), or those that keep every rule of at least one group."""

    any_of: tuple[tuple[Rule, ...], ...] | None

    @classmethod
    def everything(cls) -> Scope:
        """The scope of an asker without restriction."""
        return cls(any_of=None)

    def sees(self, meta: Mapping[str, tuple[str, ...]] | None) -> bool:
        """Whether a record with this meta may be seen; the store decides the same in its statements."""
        return self.any_of is None or any(all(rule.holds(meta) for rule in group) for group in self.any_of)


class Position(Struct, frozen=True):
    """The place of a record in an order: its value in the order's column, and its number of insertion.

    `value` is microseconds since 1970 for times, seconds for runtimes, a key for record ids; None where it has none.
    No two records share a place, so what stands behind one is well defined however many records come in.
    """

    value: int | str | None
    seq: int


class Page(Struct, frozen=True):
    """Some bodies in order, and the place of the last one when there are more behind it."""

    bodies: list[bytes]
    last: Position | None


class Question(Struct, frozen=True):
    """Which records, in which order, at most how many. All conditions hold together.

    With `after` only those behind that place in the order, whether or not the record that had it is still there.
    With `as_of_us`, microseconds since 1970, it is asked of the records as they were stored at that instant: the scope,
    the conditions and the order look at those states.
    """

    scope: Scope
    record_id: str | None = None
    start_time: tuple[Bound, ...] = ()
    stop_time: tuple[Bound, ...] = ()
    runtime: tuple[Bound, ...] = ()
    meta: tuple[MetaCondition, ...] = ()
    components: tuple[ComponentCondition, ...] = ()
    scores: tuple[ScoreCondition, ...] = ()
    order: Order = Order()
    limit: int | None = None
    after: Position | None = None
    as_of_us: int | None = None
