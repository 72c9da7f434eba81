"""What the nodes and the commands of a job did of its processor time, as far as samples tell."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from jobmeter.model.series import SampleTable, Series

_KIBIBYTE = 1024


class Share(Struct, frozen=True):
    """What one of several did of a job's processor time, in core seconds, and as a part of all.

    `memory_bytes` is the most memory it had at once on one node; None where nobody told it.
    """

    name: str
    cpu_seconds: float
    part: float
    memory_bytes: float | None = None


class Commands(Struct, frozen=True):
    """The commands of a job, the one that used most first, and the processor time that nobody saw them use.

    `unseen` is None where the job's whole processor time is not known. It holds what processes used that came and went
    between two readings, and what was used after the last one.
    """

    shares: tuple[Share, ...]
    unseen: Share | None


def nodes_of(tables: Iterable[SampleTable]) -> tuple[Share, ...]:
    """The nodes of a job."""
    spent = _spent(tables, "cgroup_cpu_usage", 1e-9, lambda series: series.node)
    return _shares(spent, sum(spent.values()), {})


def commands_of(tables: Iterable[SampleTable], cpu_seconds: float | None) -> Commands | None:
    """The commands of a job that used `cpu_seconds` in all; None where nobody looked at them."""
    found = list(tables)
    spent = _spent(found, "commands_cpu", 1e-2, lambda series: series.instance)
    if not spent:
        return None
    seen = sum(spent.values())
    whole = max(seen, cpu_seconds or 0.0)
    unseen = None if cpu_seconds is None or not whole else Share("", whole - seen, (whole - seen) / whole)
    return Commands(_shares(spent, whole, _most_memory(found)), unseen)


def _shares(spent: Mapping[str, float], whole: float, memory: Mapping[str, float]) -> tuple[Share, ...]:
    """The one that used most first."""
    found = [Share(name, used, used / whole if whole else 0.0, memory.get(name)) for name, used in spent.items()]
    return tuple(sorted(found, key=lambda one: (-one.cpu_seconds, one.name)))


def _spent(tables: Iterable[SampleTable], metric: str, factor: float, of: Callable[[Series], str]) -> dict[str, float]:
    """How much a counter of the job grew, by name, in seconds; `factor` is what its unit is of a second."""
    found: dict[str, float] = {}
    for series, values in _values(tables, metric, "increase").items():
        found[of(series)] = found.get(of(series), 0.0) + sum(values) * factor
    return found


def _most_memory(tables: Iterable[SampleTable]) -> dict[str, float]:
    found: dict[str, float] = {}
    for series, values in _values(tables, "commands_vmrss", "max").items():
        found[series.instance] = max([found.get(series.instance, 0.0), *(value * _KIBIBYTE for value in values)])
    return found


def _values(tables: Iterable[SampleTable], metric: str, form: str) -> dict[Series, list[float]]:
    """The known values of a metric of a job, not of whole nodes.

    What two have measured, such as the agent of a node and `jobmeter run`, counts once for each time.
    """
    found: dict[Series, dict[int, float]] = {}
    for table in tables:
        for column in table.columns:
            if column.metric.name == metric and column.form == form and table.series.job is not None:
                line = found.setdefault(replace(table.series, metrics=(metric,)), {})
                for time_ns, value in zip(table.times_ns, column.values, strict=True):
                    if value is not None and math.isfinite(value):
                        line.setdefault(time_ns, value)
    return {series: list(line.values()) for series, line in found.items()}
