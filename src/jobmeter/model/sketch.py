"""Percentiles of many numbers in little memory, to within one part in a hundred; sketches can be added."""

from __future__ import annotations

import math

from msgspec import Struct

BUCKETS_MAX = 1024
_GAMMA = 1.02
_LOG_GAMMA = math.log(_GAMMA)


class Sketch(Struct):
    """How many numbers fell into each bucket; a bucket's bounds differ by two parts in a hundred.

    Numbers of both signs have buckets of their own, zero has one. When there are too many, the two nearest to zero
    become one: the large ones stay exact.
    """

    count: int = 0
    zeros: int = 0
    above: dict[int, int] = {}
    below: dict[int, int] = {}

    def add(self, value: float) -> None:
        """One more number; one that is not finite is left out."""
        if not math.isfinite(value):
            return
        self.count += 1
        if value == 0:
            self.zeros += 1
            return
        buckets = self.above if value > 0 else self.below
        place = math.ceil(math.log(abs(value)) / _LOG_GAMMA)
        buckets[place] = buckets.get(place, 0) + 1
        if len(buckets) > BUCKETS_MAX:
            _collapse(buckets)

    def merge(self, other: Sketch) -> None:
        """Add all numbers of another sketch."""
        self.count += other.count
        self.zeros += other.zeros
        for own, their in ((self.above, other.above), (self.below, other.below)):
            for place, count in their.items():
                own[place] = own.get(place, 0) + count
            while len(own) > BUCKETS_MAX:
                _collapse(own)

    def quantile(self, part: float) -> float | None:
        """The number below which `part` (0 to 1) of all lie; None when there are none."""
        if not self.count:
            return None
        rank = part * (self.count - 1)
        seen = 0
        for place in sorted(self.below, reverse=True):
            seen += self.below[place]
            if seen > rank:
                return -_middle(place)
        seen += self.zeros
        if seen > rank:
            return 0.0
        for place in sorted(self.above):
            seen += self.above[place]
            if seen > rank:
                return _middle(place)
        raise AssertionError("the buckets hold less than was counted")


def _middle(place: int) -> float:
    return 2 * math.exp(place * _LOG_GAMMA) / (1 + _GAMMA)


def _collapse(buckets: dict[int, int]) -> None:
    lowest = min(buckets)
    count = buckets.pop(lowest)
    buckets[min(buckets)] += count
