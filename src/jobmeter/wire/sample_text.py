"""Samples as text: JSON, JSON lines and CSV, one table at a time.

Times are seconds since 1970 with a fraction. In JSON a series has its times once and its metrics beside; JSON lines
have a line per time, CSV a line per value. A value that is missing is null or empty.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from jobmeter.model.job import JobIdentity
from jobmeter.model.metric import Kind, Metric
from jobmeter.model.sample import Sample
from jobmeter.model.series import SampleColumn, SampleTable, Series, Value
from jobmeter.wire.spreadsheet import harmless

CSV_COLUMNS = (
    "time", "manager", "cluster", "job", "run", "node", "source", "instance", "metric", "form", "unit", "value"
)  # fmt: skip
_encode = msgspec.json.Encoder().encode


def series_fields(series: Series) -> dict[str, Any]:
    """What names a series, by name; nothing about a job in one of a node."""
    job = series.job
    fields: dict[str, Any] = {} if job is None else msgspec.structs.asdict(job)
    fields |= {"node": series.node, "source": series.source}
    if series.instance:
        fields["instance"] = series.instance
    return fields


def table_fields(table: SampleTable) -> dict[str, Any]:
    """A table as JSON has it."""
    fields = series_fields(table.series)
    fields["times"] = [_seconds(time_ns) for time_ns in table.times_ns]
    fields["metrics"] = [
        {
            "name": column.metric.name,
            "unit": column.metric.unit,
            "kind": column.metric.kind.value,
            "form": column.form,
            "values": list(_finite(column.values)),
        }
        for column in table.columns
    ]
    if table.resets:
        fields["resets"] = table.resets
    return fields


def as_json(tables: Iterable[SampleTable]) -> Iterator[bytes]:
    """One JSON object, in pieces."""
    before = b'{"series":['
    for table in tables:
        yield before + _encode(table_fields(table))
        before = b","
    yield (b'{"series":[' if before != b"," else b"") + b"]}"


def as_lines(tables: Iterable[SampleTable]) -> Iterator[bytes]:
    """JSON lines: an object per time of a series, with its values by name."""
    for table in tables:
        fields = series_fields(table.series)
        names = [_named(column) for column in table.columns]
        columns = [list(_finite(column.values)) for column in table.columns]
        yield b"".join(
            _encode({"time": _seconds(time_ns), **fields, "values": dict(zip(names, row, strict=True))}) + b"\n"
            for time_ns, *row in zip(table.times_ns, *columns, strict=True)
        )


def as_csv(tables: Iterable[SampleTable]) -> Iterator[bytes]:
    """CSV with a head: a line per value, none for a value that is missing."""
    yield (",".join(CSV_COLUMNS) + "\r\n").encode()
    for table in tables:
        text = io.StringIO()
        writer = csv.writer(text)
        series = table.series
        job = series.job
        about = ["", "", "", ""] if job is None else [job.manager, job.cluster, job.job, str(job.run)]
        about += [series.node, series.source, series.instance]
        about = [harmless(one) for one in about]
        times = [repr(_seconds(time_ns)) for time_ns in table.times_ns]
        for column in table.columns:
            what = [harmless(column.metric.name), column.form, column.metric.unit]
            writer.writerows(
                [time, *about, *what, repr(value)]
                for time, value in zip(times, column.values, strict=True)
                if value is not None
            )
        yield text.getvalue().encode()


def sample_line(sample: Sample, metrics: Mapping[str, Metric]) -> bytes:
    """A sample of a live tail as one JSON object, with the units of its values."""
    series = Series(sample.node, sample.source, sample.job, sample.instance, sample.metrics)
    values = dict(zip(sample.metrics, _finite(sample.values), strict=True))
    units = {name: metrics[name].unit for name in sample.metrics if name in metrics}
    return _encode({"time": _seconds(sample.time_ns), **series_fields(series), "values": values, "units": units})


class BadTables(ValueError):  # noqa: N818 - what it is
    """A body that is no answer of `/v2/samples`."""


class _Values(msgspec.Struct):
    name: str
    unit: str
    kind: Kind
    form: str
    values: list[int | float | str | None]


class _Series(msgspec.Struct):
    node: str
    source: str
    times: list[int | float]
    metrics: list[_Values]
    manager: str | None = None
    cluster: str | None = None
    job: str | None = None
    run: int = 0
    instance: str = ""
    resets: int = 0


class _Answer(msgspec.Struct):
    series: list[_Series]


def decode_tables(body: bytes) -> list[SampleTable]:
    """The tables of a JSON answer. Raises BadTables. Times come back to within a quarter of a microsecond."""
    try:
        answer = msgspec.json.decode(body, type=_Answer)
        return [_table(one) for one in answer.series]
    except (msgspec.DecodeError, ValueError) as fault:
        raise BadTables(f"the answer is no table of samples: {fault}") from None


def _table(one: _Series) -> SampleTable:
    job = None if one.job is None else JobIdentity(one.manager or "", one.cluster or "", one.job, one.run)
    if any(len(metric.values) != len(one.times) for metric in one.metrics):
        raise ValueError("a metric has not as many values as there are times")
    names = tuple(dict.fromkeys(metric.name for metric in one.metrics))
    columns = tuple(
        SampleColumn(
            Metric(metric.name, metric.unit, metric.kind, ""),
            metric.form,
            [float(value) if isinstance(value, str) else value for value in metric.values],
        )
        for metric in one.metrics
    )
    times = [round(seconds * 10**9) for seconds in one.times]
    return SampleTable(Series(one.node, one.source, job, one.instance, names), times, columns, one.resets)


def _named(column: SampleColumn) -> str:
    return column.metric.name if column.form == "value" else f"{column.metric.name}.{column.form}"


def _seconds(time_ns: int) -> float | int:
    whole, part = divmod(time_ns, 10**9)
    return whole if part == 0 else time_ns / 1e9


def _finite(values: Iterable[Value]) -> Iterator[Value | str]:
    """JSON has no numbers for these; a text keeps them apart from what is missing."""
    for value in values:
        yield value if value is None or isinstance(value, int) or math.isfinite(value) else repr(value)
