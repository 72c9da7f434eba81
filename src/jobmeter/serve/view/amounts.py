"""Components and summaries as tables: every number with its unit."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from jobmeter.model.metric import Kind
from jobmeter.model.record import Component
from jobmeter.model.summary import MetricSummary
from jobmeter.serve.view.rows import unit_of
from jobmeter.serve.web.figures import ABSENT, amount_bytes, number, span

_SECONDS = {"seconds": 1.0, "milliseconds": 1e-3, "microseconds": 1e-6, "nanoseconds": 1e-9, "centiseconds": 1e-2}
_BYTES = {"bytes": 1, "kibibytes": 1024, "mebibytes": 1024**2, "gibibytes": 1024**3}
_SCALED = {
    "microjoules": (1e-6, "J"), "millijoules": (1e-3, "J"), "joules": (1.0, "J"), "milliwatts": (1e-3, "W"),
    "watts": (1.0, "W"), "percent": (1.0, "%"), "count": (1.0, ""),
}  # fmt: skip


class Amount(Struct, frozen=True):
    """A component: its amount with all digits, its unit, the same as people read it, and its scores."""

    name: str
    amount: str
    unit: str
    read: str
    scores: tuple[tuple[str, str], ...]


class Summed(Struct, frozen=True):
    """A metric over the whole job; what does not apply is a dash. `rate` says that the middle values are per second."""

    name: str
    total: str
    mean: str
    p95: str
    largest: str
    rate: bool
    missing: int


def amounts_of(components: Iterable[Component]) -> list[Amount]:
    """The components, in their order."""
    return [
        Amount(
            one.name,
            f"{one.amount:,}",
            unit_of(one.name) or ABSENT,
            readable(one.amount, unit_of(one.name)),
            tuple((score.name, f"{score.value:g}") for score in one.scores),
        )
        for one in components
    ]


def summed(metrics: Iterable[MetricSummary]) -> list[Summed]:
    """The metrics of a summary, in its order."""
    return [
        Summed(
            one.name,
            readable(one.total, one.unit),
            _middle(one.mean, one),
            _middle(one.p95, one),
            _middle(one.max if one.peak is None else one.peak, one),
            one.kind is Kind.COUNTER,
            one.missing,
        )
        for one in metrics
    ]


def readable(value: float | None, unit: str) -> str:
    """A value of a unit of the catalogue as people read it."""
    if value is None:
        return ABSENT
    if unit in _SECONDS:
        return span(value * _SECONDS[unit])
    if unit in _BYTES:
        return amount_bytes(value * _BYTES[unit])
    factor, sign = _SCALED.get(unit, (1.0, unit))
    scaled = value * factor
    digits = 0 if scaled == int(scaled) or abs(scaled) >= 1000 else 2
    return f"{number(scaled, digits)} {sign}".rstrip()


def _middle(value: float | None, one: MetricSummary) -> str:
    """A level, or the growth of a counter in a second: a time in a time is a number of cores, joules a second watts."""
    if value is None or one.kind is not Kind.COUNTER:
        return readable(value, one.unit)
    if one.unit in _SECONDS:
        return number(value * _SECONDS[one.unit], 2)
    if one.unit.endswith("joules"):
        return readable(value, one.unit).replace(" J", " W")
    return f"{readable(value, one.unit)}/s"
