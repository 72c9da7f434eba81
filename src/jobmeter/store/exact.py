"""Sums of whole numbers of any size within SQLite, which itself ends at 64 bits."""

from __future__ import annotations

import math


class ExactSum:
    """The aggregate function `exact_sum(a, b, ...)`: the sum of a * b * ..., as decimal digits; NULL without rows.

    A row in which a factor is NULL adds nothing.
    """

    def __init__(self) -> None:
        self._sum: int | None = None

    def step(self, *factors: int | str | None) -> None:
        """Take one row; a number that is too large for SQLite comes as its digits."""
        if None not in factors:
            self._sum = (self._sum or 0) + math.prod(int(factor) for factor in factors if factor is not None)

    def finalize(self) -> str | None:
        """The sum."""
        return None if self._sum is None else str(self._sum)


def exact_add(one: int | str, other: int | str) -> int | str:
    """The function `exact_add(a, b)` of SQLite: the sum, as a number where 64 bits hold it, else as its digits."""
    return fitting(int(one) + int(other))


def fitting(number: int) -> int | str:
    """`number` as SQLite can take it."""
    return number if number.bit_length() <= 63 else str(number)
