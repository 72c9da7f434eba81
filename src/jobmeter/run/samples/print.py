"""Samples for people: a line per metric, a line per time, curves of braille dots."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from jobmeter.model.metric import Kind, Metric
from jobmeter.model.series import SampleColumn, SampleTable, Series, Value

HEIGHT = 6
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bits of a braille cell, by row and column."""
_BINARY = ("", "Ki", "Mi", "Gi", "Ti", "Pi")
_DECIMAL = ("", "k", "M", "G", "T", "P")


class Curve(NamedTuple):
    """One metric of one series as a person wants to see it: levels as they are, counters as rates."""

    series: Series
    metric: Metric
    unit: str
    points: list[tuple[int, float]]


def curve(table: SampleTable, column: SampleColumn) -> Curve:
    """The curve of a column. A counter that was sampled becomes its growth a second; a new beginning leaves a gap."""
    points = [
        (time_ns, float(value))
        for time_ns, value in zip(table.times_ns, column.values, strict=True)
        if value is not None and math.isfinite(value)
    ]
    unit = column.metric.unit
    if column.form == "rate":
        unit = f"{unit}/s"
    elif column.form == "value" and column.metric.kind is Kind.COUNTER:
        unit = f"{unit}/s"
        points = [
            (after, (new - old) * 1e9 / (after - before))
            for (before, old), (after, new) in itertools.pairwise(points)
            if after > before and new >= old
        ]
    return Curve(table.series, column.metric, unit, points)


def shown_columns(tables: Iterable[SampleTable]) -> Iterator[Curve]:
    """The curves of all tables: of several forms of one metric the first, its mean or rate."""
    for table in tables:
        for column in table.columns:
            if column.form in ("value", "mean", "rate"):
                yield curve(table, column)


def overview(tables: Sequence[SampleTable]) -> Iterator[str]:
    """A line per metric and series: how many samples, smallest, mean, largest, growth of a counter."""
    lines: list[tuple[str, ...]] = [("NODE", "JOB", "METRIC", "SAMPLES", "MIN", "MEAN", "MAX", "GROWTH", "UNIT")]
    for table in tables:
        job = table.series.job
        for column in table.columns:
            if column.form not in ("value", "mean", "rate"):
                continue
            one = curve(table, column)
            values = [value for _, value in one.points]
            count = sum(value is not None for value in column.values)
            name = " ".join(filter(None, (column.metric.name, table.series.instance)))
            three = ["-"] * 3
            if values:
                three = [human(v, one.unit) for v in (min(values), sum(values) / len(values), max(values))]
            about = (table.series.node, "-" if job is None else job.job, name, str(count))
            lines.append((*about, *three, _growth(column), one.unit))
    yield from _aligned(lines, right=(3, 4, 5, 6, 7))
    first, last = min(table.times_ns[0] for table in tables), max(table.times_ns[-1] for table in tables)
    yield f"{moment(first)} to {moment(last)}, times in UTC; counters as growth a second"


def rows(tables: Sequence[SampleTable]) -> Iterator[str]:
    """A line per time of each series."""
    for table in tables:
        job = table.series.job
        about = f"{table.series.node} {'node' if job is None else f'job {job.job}'} {table.series.source}"
        yield f"{about} {table.series.instance}".rstrip()
        head = ["TIME", *(_heading(column) for column in table.columns)]
        lines = [tuple(head)]
        for place, time_ns in enumerate(table.times_ns):
            values = (column.values[place] for column in table.columns)
            lines.append((moment(time_ns), *("-" if value is None else plain(value) for value in values)))
        yield from _aligned(lines, right=tuple(range(1, len(head))))


def curves(tables: Sequence[SampleTable], width: int) -> Iterator[str]:
    """A small picture per metric and series."""
    for one in shown_columns(tables):
        if not one.points:
            continue
        yield " ".join(filter(None, (one.series.node, one.metric.name, one.series.instance))) + f" [{one.unit}]"
        yield from _picture(one, max(width - 14, 20))
        yield ""


def _picture(one: Curve, width: int) -> Iterator[str]:
    times = [time_ns for time_ns, _ in one.points]
    values = [value for _, value in one.points]
    low, high = min(0.0, *values), max(values)
    span, height = max(times[-1] - times[0], 1), (high - low) or 1.0
    cells = [[0] * width for _ in range(HEIGHT)]
    for time_ns, value in one.points:
        across = (time_ns - times[0]) * (width * 2 - 1) // span
        down = round((high - value) / height * (HEIGHT * 4 - 1))
        cells[down // 4][across // 2] |= _DOTS[down % 4][across % 2]
    for number, line in enumerate(cells):
        label = human(high, one.unit) if number == 0 else human(low, one.unit) if number == HEIGHT - 1 else ""
        yield f"{label:>12} " + "".join(chr(0x2800 + bits) for bits in line).rstrip("\u2800")
    first, last = moment(times[0]), moment(times[-1])
    yield " " * 13 + first + " " * max(width - len(first) - len(last), 1) + last


def _growth(column: SampleColumn) -> str:
    if column.metric.kind is not Kind.COUNTER or column.form != "value":
        return "-"
    values = [value for value in column.values if value is not None]
    grown = 0.0
    for old, new in itertools.pairwise(values):
        grown += new - old if new >= old else new
    return human(grown, column.metric.unit)


def _heading(column: SampleColumn) -> str:
    unit = f"{column.metric.unit}/s" if column.form == "rate" else column.metric.unit
    form = "" if column.form == "value" else f".{column.form}"
    return f"{column.metric.name}{form} [{unit}]"


def _aligned(lines: Sequence[Sequence[str]], right: Sequence[int]) -> Iterator[str]:
    lines = [[printable(cell) for cell in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()


def printable(text: str) -> str:
    """A name as a terminal may see it: no control character."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def moment(time_ns: int) -> str:
    """A time for people, in UTC."""
    return datetime.fromtimestamp(time_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S")


def plain(value: Value) -> str:
    """A value in full."""
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def human(value: float, unit: str) -> str:
    """A value with at most four digits: bytes by 1024, all else by 1000."""
    step, names = (1024, _BINARY) if unit.startswith("bytes") else (1000, _DECIMAL)
    place = 0
    while abs(value) >= step and place < len(names) - 1:
        value /= step
        place += 1
    return f"{value:.4g}{names[place]}"
