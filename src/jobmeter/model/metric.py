"""The metric catalogue: every quantity that may be stored, with its unit. A number without a unit is not stored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum

from msgspec import Struct


class Kind(Enum):
    """How a number behaves over time."""

    COUNTER = "counter"
    """Grows; only differences mean something."""
    GAUGE = "gauge"
    """A level at an instant."""
    TOTAL = "total"
    """One final number for a whole job."""


class Metric(Struct, frozen=True):
    """A quantity: `unit` is a base unit in full ("seconds", "bytes", "joules", "count") or a named multiple of one."""

    name: str
    unit: str
    kind: Kind
    help: str


class Catalogue:
    """An immutable set of metrics, looked up by name."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        by_name: dict[str, Metric] = {}
        for metric in metrics:
            if metric.name in by_name:
                raise ValueError(f"metric {metric.name} is declared twice")
            by_name[metric.name] = metric
        self._by_name: Mapping[str, Metric] = by_name

    def __getitem__(self, name: str) -> Metric:
        return self._by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[Metric]:
        return iter(self._by_name.values())


JOB_TOTALS = Catalogue(
    [
        Metric("Cores", "count", Kind.TOTAL, "Processor cores allocated to the job."),
        Metric("NNodes", "count", Kind.TOTAL, "Nodes allocated to the job."),
        Metric("Memory", "mebibytes", Kind.TOTAL, "Memory requested for the job."),
        Metric("MaxRSS", "bytes", Kind.TOTAL, "Largest resident memory of any step of the job."),
        Metric("SystemCPU", "seconds", Kind.TOTAL, "Processor time in the kernel, all steps."),
        Metric("UserCPU", "seconds", Kind.TOTAL, "Processor time in user mode, all steps."),
        Metric("TotalCPU", "seconds", Kind.TOTAL, "Processor time, all steps."),
    ]
)
