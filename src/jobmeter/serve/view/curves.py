"""Samples of a job as pictures: which metrics make one, which step fits, and the same as a table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from msgspec import Struct

from jobmeter.model.metric import Kind, Metric
from jobmeter.model.series import SampleColumn, SampleTable
from jobmeter.serve.web.figures import ABSENT, amount_bytes, number

POINTS = 240
"""A picture has about so many points; a table that is shown without a script a tenth of it."""
STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400, 604800)


class Picture(Struct, frozen=True):
    """A curve to be drawn: some metrics in one unit over time. `factor` turns what is stored into the unit."""

    title: str
    unit: str
    metrics: tuple[str, ...]
    factor: float = 1.0
    whole: bool = False
    """Of whole nodes, whoever used them."""


class Line(Struct, frozen=True):
    """One curve: `label` says what of, values in the picture's unit."""

    label: str
    values: tuple[float | None, ...]


class Drawn(Struct, frozen=True):
    """A picture with its curves, at these times in seconds since 1970."""

    picture: Picture
    times: tuple[float, ...]
    lines: tuple[Line, ...]


_KNOWN = (
    Picture("Processor", "cores", ("cgroup_cpu_usage", "cgroup_cpu_user", "cgroup_cpu_system"), 1e-9),
    Picture("Processor by command", "cores", ("commands_cpu",), 1e-2),
    Picture("Memory", "bytes", ("cgroup_memory_current", "cgroup_memory_anon", "cgroup_memory_file")),
    Picture("Resident memory", "bytes", ("jobproc_vmrss",), 1024),
    Picture("Resident memory by command", "bytes", ("commands_vmrss",), 1024),
    Picture("Read and written on devices", "bytes/s", ("cgroup_io_read_bytes", "cgroup_io_write_bytes")),
    Picture("Read and written by processes", "bytes/s", ("jobproc_rchar", "jobproc_wchar")),
    Picture("Lustre", "bytes/s", ("lustre_read_bytes", "lustre_write_bytes")),
    Picture("Power of nodes", "W", ("ipmi_power",), whole=True),
    Picture("Power of processors and memory", "W", ("rapl_energy",), 1e-6, whole=True),
    Picture("GPU in use", "%", ("nvidia_utilization_gpu", "nvidia_utilization_memory")),
    Picture("GPU memory", "bytes", ("nvidia_memory_used",)),
    Picture("GPU power", "W", ("nvidia_power",), 1e-3),
    Picture(
        "Waiting for a resource",
        "part",
        tuple(f"cgroup_pressure_{what}_some" for what in ("cpu", "io", "memory")),
        1e-9,
    ),
    Picture("Processes and threads", "", ("cgroup_pids_current",)),
)
METRICS = tuple(name for picture in _KNOWN for name in picture.metrics)
"""All that the first pictures need."""


def step_seconds(seconds: float, points: int = POINTS) -> int:
    """The step of a table that covers so many seconds in about so many points."""
    wanted = seconds / points
    return next((step for step in STEPS if step >= wanted), STEPS[-1])


def drawn(tables: Iterable[SampleTable]) -> list[Drawn]:
    """The pictures of which there is something, in the order in which people look."""
    found = list(tables)
    return [one for picture in _KNOWN if (one := _drawn(picture, found)) is not None]


def thinned(one: Drawn, rows: int = POINTS // 10) -> list[tuple[datetime, tuple[str, ...]]]:
    """The picture as a table of at most so many rows, evenly chosen, as text."""
    every = max(1, math.ceil(len(one.times) / rows))
    return [
        (datetime.fromtimestamp(time, UTC), tuple(written(line.values[place], one.picture.unit) for line in one.lines))
        for place, time in enumerate(one.times)
        if place % every == 0
    ]


def written(value: float | None, unit: str) -> str:
    """A value with its unit."""
    if value is None:
        return ABSENT
    if unit.startswith("bytes"):
        return amount_bytes(value) + unit.removeprefix("bytes")
    if unit == "part":
        return f"{value * 100:.1f} %"
    return f"{number(value, 0 if abs(value) >= 100 else 2)} {unit}".rstrip()


def _drawn(picture: Picture, tables: Sequence[SampleTable]) -> Drawn | None:
    points: dict[str, dict[int, float]] = {}
    for table in tables:
        for column in table.columns:
            if column.metric.name in picture.metrics and column.form == _form(column.metric):
                _add(points.setdefault(_label(table, column, picture), {}), table.times_ns, column, picture.factor)
    if not any(points.values()):
        return None
    times = sorted({time for line in points.values() for time in line})
    lines = tuple(
        Line(label, tuple(line.get(time) for time in times)) for label, line in sorted(points.items()) if line
    )
    return Drawn(picture, tuple(time / 1e9 for time in times), lines)


def _add(line: dict[int, float], times: Sequence[int], column: SampleColumn, factor: float) -> None:
    for time, value in zip(times, column.values, strict=True):
        if value is not None and math.isfinite(value):
            line[time] = line.get(time, 0.0) + value * factor


def _form(metric: Metric) -> str:
    return "rate" if metric.kind is Kind.COUNTER else "mean"


def _label(table: SampleTable, column: SampleColumn, picture: Picture) -> str:
    """What the curve is of: metric where the picture has several, node, and device."""
    parts = [column.metric.name.partition("_")[2].replace("_", " ")] if len(picture.metrics) > 1 else []
    parts.append(table.series.node)
    if table.series.instance:
        parts.append(table.series.instance)
    return " · ".join(parts)
