"""Priorities from provided resources. Exact arithmetic, rounded once, half away from zero."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from fractions import Fraction


class Mode(Enum):
    """How resources become priorities."""

    FULL_SPREAD = "FullSpread"
    """The least provider gets the lowest priority, the greatest the highest; the others lie between in proportion."""
    SCALED_BY_SUM = "ScaledBySum"
    """The range is shared out in proportion; only a group that provides everything gets the highest."""


def priorities(resources: Mapping[str, Fraction], mode: Mode, lowest: int, highest: int) -> dict[str, int]:
    """The priority of each group, never below `lowest`: all get that where nothing tells them apart.

    `resources` are not negative.
    """
    if not resources:
        return {}
    least = min(resources.values()) if mode is Mode.FULL_SPREAD else Fraction(0)
    whole = max(resources.values()) - least if mode is Mode.FULL_SPREAD else sum(resources.values(), Fraction(0))
    if whole == 0:
        return dict.fromkeys(resources, lowest)
    width = highest - lowest
    return {group: nearest(lowest + (value - least) * width / whole) for group, value in resources.items()}


def nearest(number: Fraction) -> int:
    """The nearest whole number; a half goes away from zero."""
    size = int(abs(number) + Fraction(1, 2))
    return size if number >= 0 else -size
