"""Comparisons of a 64-bit column with a number of any size."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, case, false, literal

from jobmeter.model.question import Bound, Op

INT64_MAX = 2**63 - 1
INT64_MIN = -(2**63)

OPERATORS: dict[Op, Callable[[Any, Any], Any]] = {
    Op.GT: operator.gt,
    Op.GTE: operator.ge,
    Op.LT: operator.lt,
    Op.LTE: operator.le,
    Op.EQUALS: operator.eq,
}


def at_most(limit: int | None) -> int | None:
    """The limit as far as it can be counted; None for none."""
    return None if limit is None else min(limit, INT64_MAX)


def compared(column: ColumnElement[Any], bound: Bound) -> ColumnElement[bool]:
    """Whether the column's value is within `bound`; NULL never is.

    Neither database takes a parameter beyond 64 bits for such a column, but a client may well send one.
    """
    compare = OPERATORS[bound.op]
    if INT64_MIN <= bound.value <= INT64_MAX:
        result: ColumnElement[bool] = compare(column, literal(bound.value, BigInteger()))
        return result
    return column.is_not(None) if compare(0, bound.value) else false()


def floor_of(column: ColumnElement[Any], by: int) -> ColumnElement[Any]:
    """The column's value divided by `by` and rounded down; both databases cut towards zero by themselves."""
    divisor = literal(by, BigInteger())
    return case((column < literal(0, BigInteger()), (column - (divisor - 1)) // divisor), else_=column // divisor)
