"""Sums of whole numbers of any size within SQLite, which itself ends at 64 bits."""

from __future__ import annotations

import math


class ExactSum:
    """The aggregate function `exact_sum(a, b, ...)`: the sum of a * b * ..., as decimal digits; NULL without rows.

    A row in which a factor is NULL adds nothing.
    """

    def __init__(self) -> None:
        self._sum: int | None = None

    def step(self, *factors: int | None) -> None:
        """Take one row."""
        if None not in factors:
            self._sum = (self._sum or 0) + math.prod(factor for factor in factors if factor is not None)

    def finalize(self) -> str | None:
        """The sum."""
        return None if self._sum is None else str(self._sum)
