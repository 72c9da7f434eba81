"""Samples of a job or a node as pictures: which metrics make one, which step fits, and the same as a table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

import msgspec
from msgspec import Struct

from jobmeter.model.metric import Kind, Metric
from jobmeter.model.series import SampleColumn, SampleTable
from jobmeter.serve.web.figures import ABSENT, amount_bytes, number

POINTS = 240
"""A picture has about so many points; a table that is shown without a script a tenth of it."""
STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400, 604800)


class Picture(Struct, frozen=True):
    """Curves to be drawn: metrics in one unit over time, each with what its curve is called where there are several.

    Of levels the mean is drawn, of counters the growth in a second. `factor` turns what is stored into the unit.
    """

    title: str
    unit: str
    metrics: Mapping[str, str]
    factor: float = 1.0
    whole: bool = False
    """Of whole nodes, whoever used them."""

    @property
    def labels(self) -> str:
        """The metrics as JSON, for the script that draws."""
        return msgspec.json.encode(self.metrics).decode()


class Line(Struct, frozen=True):
    """One curve: `label` says what of, values in the picture's unit."""

    label: str
    values: tuple[float | None, ...]


class Drawn(Struct, frozen=True):
    """A picture with its curves, at these times in seconds since 1970."""

    picture: Picture
    times: tuple[float, ...]
    lines: tuple[Line, ...]


def _two(read: str, written: str) -> dict[str, str]:
    return {read: "read", written: "written"}


OF_JOBS = (
    Picture(
        "Processor",
        "cores",
        {"cgroup_cpu_usage": "in all", "cgroup_cpu_user": "programs", "cgroup_cpu_system": "kernel"},
        1e-9,
    ),
    Picture("Processor by command", "cores", {"commands_cpu": ""}, 1e-2),
    Picture(
        "Memory",
        "bytes",
        {"cgroup_memory_current": "in all", "cgroup_memory_anon": "data", "cgroup_memory_file": "files"},
    ),
    Picture("Resident memory", "bytes", {"jobproc_vmrss": ""}, 1024),
    Picture("Resident memory by command", "bytes", {"commands_vmrss": ""}, 1024),
    Picture("Devices", "bytes/s", _two("cgroup_io_read_bytes", "cgroup_io_write_bytes")),
    Picture("All file systems", "bytes/s", _two("jobproc_rchar", "jobproc_wchar")),
    Picture("Lustre", "bytes/s", _two("lustre_read_bytes", "lustre_write_bytes")),
    Picture("Power of nodes", "W", {"ipmi_power": ""}, whole=True),
    Picture("Power of processors and memory", "W", {"rapl_energy": ""}, 1e-6, whole=True),
    Picture("GPU in use", "%", {"nvidia_utilization_gpu": "processors", "nvidia_utilization_memory": "memory"}),
    Picture("GPU memory", "bytes", {"nvidia_memory_used": ""}),
    Picture("GPU power", "W", {"nvidia_power": ""}, 1e-3),
    Picture(
        "Waiting for a resource",
        "part",
        {f"cgroup_pressure_{what}_some": what for what in ("cpu", "io", "memory")},
        1e-9,
    ),
    Picture("Processes and threads", "", {"cgroup_pids_current": ""}),
)
OF_NODES = (
    Picture("Load", "", {"procstats_loadavg_1min": ""}),
    Picture(
        "Memory",
        "bytes",
        {"procstats_meminfo_memtotal": "in all", "procstats_meminfo_memavailable": "available"},
        1024,
    ),
    Picture(
        "Processors in use",
        "cores",
        {
            "procstats_stat_cpu_user": "programs",
            "procstats_stat_cpu_system": "kernel",
            "procstats_stat_cpu_iowait": "waiting for disks",
        },
        0.01,
    ),
    Picture("Power of the node", "W", {"ipmi_power": ""}),
    Picture("Power of processors and memory", "W", {"rapl_energy": ""}, 1e-6),
    Picture("GPU power", "W", {"nvidia_power": ""}, 1e-3),
    Picture("GPU in use", "%", {"nvidia_utilization_gpu": ""}),
    Picture("Network", "bytes/s", {"network_rx_bytes": "received", "network_tx_bytes": "sent"}),
    Picture("Disks", "bytes/s", _two("disk_read_bytes", "disk_write_bytes")),
    Picture("Temperature", "°C", {"thermal_temperature": ""}, 1e-3),
)


def metrics_of(pictures: Iterable[Picture]) -> tuple[str, ...]:
    """All metrics of the pictures, each once."""
    return tuple(dict.fromkeys(name for picture in pictures for name in picture.metrics))


def step_seconds(seconds: float, points: int = POINTS) -> int:
    """The step of a table that covers so many seconds in about so many points."""
    wanted = seconds / points
    return next((step for step in STEPS if step >= wanted), STEPS[-1])


def drawn(tables: Iterable[SampleTable], pictures: Iterable[Picture]) -> list[Drawn]:
    """The pictures of which there is something, in their order. Nodes are named where there are several."""
    found = list(tables)
    named = len({table.series.node for table in found}) > 1
    return [one for picture in pictures if (one := _drawn(picture, found, named=named)) is not None]


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


def _drawn(picture: Picture, tables: Sequence[SampleTable], *, named: bool) -> Drawn | None:
    points: dict[str, dict[int, float]] = {}
    for table in tables:
        for column in table.columns:
            if column.metric.name in picture.metrics and column.form == _form(column.metric):
                _add(
                    points.setdefault(_label(table, column, picture, named=named), {}),
                    table.times_ns,
                    column,
                    picture.factor,
                )
    if not any(points.values()):
        return None
    times = sorted({time for line in points.values() for time in line})
    lines = tuple(
        Line(label, tuple(line.get(time) for time in times)) for label, line in sorted(points.items()) if line
    )
    return Drawn(picture, tuple(time / 1e9 for time in times), lines)


def _add(line: dict[int, float], times: Sequence[int], column: SampleColumn, factor: float) -> None:
    """What two have measured, such as the agent of a node and `jobmeter run`, counts once."""
    for time, value in zip(times, column.values, strict=True):
        if value is not None and math.isfinite(value):
            line.setdefault(time, value * factor)


def _form(metric: Metric) -> str:
    return "rate" if metric.kind is Kind.COUNTER else "mean"


def _label(table: SampleTable, column: SampleColumn, picture: Picture, *, named: bool) -> str:
    """What the curve is of: the metric where the picture has several, the node where there are several, the device."""
    series = table.series
    parts = (picture.metrics[column.metric.name], series.node if named else "", series.instance)
    return " · ".join(part for part in parts if part) or picture.title.lower()
