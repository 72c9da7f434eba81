"""A question for totals: sums and extremes over records, group by group.

The key of a group is a tuple with one value per dimension, never joined text. A record that has not what a dimension
asks for belongs to the group with None in that place. A record that has not what a measure needs (the component, its
score, a stop time) adds nothing to it; `Measured.counted` says how many did, so that nobody takes what is missing for
zero. All arithmetic is exact: whole numbers of any size, decimals for scores and for fractions of a second.
"""

from __future__ import annotations

from decimal import Decimal
from enum import Enum

from msgspec import Struct

from jobmeter.model.question import Column, Question


class TimeUnit(Enum):
    """A stretch of the calendar in UTC; a week begins on Monday (ISO 8601)."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"


class MetaDimension(Struct, frozen=True, tag=True):
    """The first value of the list under meta `key`; None without the key, or with an empty list."""

    key: str


class TimeDimension(Struct, frozen=True, tag=True):
    """The stretch of the calendar that the start or stop time lies in, as text: 2025-01-31, 2025-W05, 2025-01, 2025."""

    unit: TimeUnit
    column: Column = Column.STOP_TIME


class FieldDimension(Struct, frozen=True, tag=True):
    """A field of the record: its id, its whole seconds, or a time in microseconds since 1970."""

    column: Column


class AmountDimension(Struct, frozen=True, tag=True):
    """The amount of the first component of this name."""

    component: str


Dimension = MetaDimension | TimeDimension | FieldDimension | AmountDimension


class Span(Enum):
    """How the time from start to stop enters a product."""

    RUNTIME = "runtime"
    """Whole seconds of each record, the fraction cut off: the record's own `runtime`."""
    DURATION = "duration"
    """Seconds of each record with their fraction, to the microsecond."""


class Factor(Struct, frozen=True):
    """The amount of a component, multiplied by the scores of these names that it has.

    Where a record has several components of the name each is a term of its own; of several scores of one name the
    first counts.
    """

    component: str
    scores: tuple[str, ...] = ()


class Product(Struct, frozen=True, tag=True):
    """What is summed over the records of a group: the product of factors and span; with neither, their count."""

    factors: tuple[Factor, ...] = ()
    span: Span | None = None


class Extreme(Struct, frozen=True, tag=True):
    """The earliest or latest start or stop time of a group, in microseconds since 1970."""

    column: Column
    latest: bool


Measure = Product | Extreme

COUNT = Product()

Key = tuple[str | int | None, ...]


class Measured(Struct, frozen=True, gc=False):
    """A measure of a group: its value, None when nothing contributed, and how many terms did."""

    value: int | Decimal | None
    counted: int


class Total(Struct, frozen=True, gc=False):
    """One group: its key, in the order of the dimensions, and its measures, in theirs."""

    key: Key
    measured: tuple[Measured, ...]


class TotalQuestion(Struct, frozen=True):
    """Over which records (order and limit do not matter), grouped by what, which measures.

    Without dimensions there is one group; without records there is none.
    """

    where: Question
    group_by: tuple[Dimension, ...]
    measures: tuple[Measure, ...] = (COUNT,)


class TooManyGroups(Exception):  # noqa: N818 - the name says the fact
    """The answer would have more groups than a store gives at once; the message says the bound."""


def in_order(totals: list[Total]) -> list[Total]:
    """The groups in ascending order of their keys; None is last in its place."""
    return sorted(totals, key=lambda total: [(part is None, "" if part is None else part) for part in total.key])
