"""Colmet's layout of HDF5 files, version 2: a group for each job, in it a table for each class of records.

Columns stand in alphabetical order; counters are signed 64-bit integers with -1 for what is not known, load averages
32-bit floats, texts of fixed length. What Colmet has no class for gets a table named after its source, whose metrics
are 64-bit floats with NaN for what is not known.

Colmet's own tables lack some columns of its records (`involved_jobs` of procstats apart): time, host and job of
temperatures, the memory of jobprocstats, the last counter of RAPL, and nvidia as a whole. Here they are there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from jobmeter.model.sample import Sample
from jobmeter.wire.colmet import ColmetRecord, columns, types
from jobmeter.wire.colmet_columns import RECORDS
from jobmeter.wire.colmet_samples import SECOND_NS, involved_text, job_number

TEXT_BYTES = 255
INVOLVED_BYTES = 8192
_LARGEST = 2**63 - 1
_ALWAYS = {"hostname": f"S{TEXT_BYTES}", "metric_backend": f"S{TEXT_BYTES}", "job_id": "<i8", "timestamp": "<i8"}
_NOT_IN_TABLE = {"procstats_default": frozenset({"involved_jobs"})}
_ONLY_IN_TABLE = {"procstats_default": ("meminfo_hardwarecorrupted",)}
_TYPES = {"s": f"S{INVOLVED_BYTES}", "f": "<f4"}
_OWN = {"instance": f"S{TEXT_BYTES}", "job": f"S{TEXT_BYTES}", "time_ns": "<i8", "involved_jobs": f"S{INVOLVED_BYTES}"}


class Row(Struct, frozen=True):
    """One row and the table that it belongs to. `values` are by column; what is left out is not known."""

    group: str
    table: str
    layout: np.dtype
    values: dict[str, object]


def _layout(found: dict[str, str]) -> np.dtype:
    return np.dtype(sorted(found.items()))


def _layout_of(kind: str) -> np.dtype:
    left_out = _NOT_IN_TABLE.get(kind, frozenset())
    named = zip(columns(kind), types(kind), strict=True)
    counters = {name: _TYPES.get(form, "<i8") for name, form in named if name not in left_out}
    counters.update(dict.fromkeys(_ONLY_IN_TABLE.get(kind, ()), "<i8"))
    return _layout({**counters, **_ALWAYS})


LAYOUTS = {record.name: _layout_of(record.name) for record in RECORDS}


def row_of_record(record: ColmetRecord) -> Row:
    """The row of a record of Colmet."""
    values: dict[str, object] = {
        name: min(value, _LARGEST) if isinstance(value, int) else value
        for name, value in zip(columns(record.kind), record.values, strict=True)
        if value is not None
    }
    values.update(hostname=record.host, metric_backend=record.kind, job_id=record.job, timestamp=record.stamp_seconds)
    return Row(f"job_{record.job}", record.kind, LAYOUTS[record.kind], values)


def layout_of_source(metrics: Sequence[str], *, with_involved: bool) -> np.dtype:
    """The layout of a table for samples that Colmet has no class for."""
    own = {name: form for name, form in _OWN.items() if with_involved or name != "involved_jobs"}
    return _layout({**dict.fromkeys(metrics, "<f8"), **_ALWAYS, **own})


def row_of_sample(sample: Sample, layout: np.dtype) -> Row:
    """The row of such a sample."""
    number = job_number(sample.job)
    values: dict[str, object] = {
        name: value for name, value in zip(sample.metrics, sample.values, strict=True) if value is not None
    }
    values.update(
        hostname=sample.node,
        metric_backend=sample.source,
        job_id=number,
        timestamp=sample.time_ns // SECOND_NS,
        time_ns=sample.time_ns,
        instance=sample.instance,
        job="" if sample.job is None else _job_text(sample),
    )
    if sample.involved:
        values["involved_jobs"] = involved_text(sample.involved)
    return Row(f"job_{number}", sample.source, layout, values)


def _job_text(sample: Sample) -> str:
    job = sample.job
    return "" if job is None else f"{job.manager}/{job.cluster}:{job.job}.{job.run}"


def filled(layout: np.dtype, rows: Sequence[dict[str, object]]) -> np.ndarray:
    """The rows as an array of that layout, which may have other columns than the rows, as in Colmet's files."""
    table = np.zeros(len(rows), layout)
    names = layout.names or ()
    for name in names:
        column = table[name]
        kind = layout[name].kind
        missing: object = {"i": -1, "f": np.nan}.get(kind, b"")
        if kind == "S":
            column[:] = [_cut(str(row.get(name, "")), layout[name].itemsize) for row in rows]
        elif kind in "if":
            column[:] = [row.get(name, missing) for row in rows]
    return table


def _cut(text: str, size: int) -> bytes:
    raw = text.encode("utf-8", "replace")
    if len(raw) > size and raw.startswith(b"["):
        return raw[: raw.rfind(b",", 0, size)] + b"]"
    return raw[:size]
