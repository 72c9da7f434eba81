"""Sums over jobs: which measures are asked for, and what they say."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

CPU = ("UsedCPU", "TotalCPU")
ENERGY = ("Energy", "ConsumedEnergyRaw")
MEASURES = ("count", "runtime", "Cores*runtime", *CPU, *ENERGY)
"""As `GET /v2/totals` writes them; of components that say the same the first that some record has counts."""

ASKED = f"sum={','.join(MEASURES)}"

Values = Sequence[float | None]


class Sums(Struct, frozen=True):
    """What jobs used. Spans in seconds; None where no job tells it."""

    jobs: int = 0
    wall_seconds: float | None = None
    core_seconds: float | None = None
    cpu_seconds: float | None = None
    joules: float | None = None

    @property
    def efficiency(self) -> float | None:
        """The part of the core seconds that was used."""
        return None if self.cpu_seconds is None or not self.core_seconds else self.cpu_seconds / self.core_seconds

    def plus(self, other: Sums) -> Sums:
        """Both together."""
        return Sums(
            self.jobs + other.jobs,
            _plus(self.wall_seconds, other.wall_seconds),
            _plus(self.core_seconds, other.core_seconds),
            _plus(self.cpu_seconds, other.cpu_seconds),
            _plus(self.joules, other.joules),
        )


def sums_of(values: Values) -> Sums:
    """What the values of MEASURES, in their order, say."""
    by_name = dict(zip(MEASURES, values, strict=True))
    return Sums(
        int(by_name["count"] or 0),
        by_name["runtime"],
        by_name["Cores*runtime"],
        next((by_name[name] for name in CPU if by_name[name] is not None), None),
        next((by_name[name] for name in ENERGY if by_name[name] is not None), None),
    )


def _plus(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    return one + other
