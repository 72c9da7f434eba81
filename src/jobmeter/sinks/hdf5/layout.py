"""Colmet's layout of HDF5 files, version 2: a group for each job, in it a table for each class of records.

Columns stand in alphabetical order; counters are signed 64-bit integers with -1 for what is not known, load averages
32-bit floats, texts of fixed length. What Colmet has no class for gets a table named after its source, whose metrics
are 64-bit floats with NaN for what is not known.

Colmet's own tables lack some columns of its records (`involved_jobs` of procstats apart): time, host and job of
temperatures, the memory of jobprocstats, the last counter of RAPL, and nvidia as a whole. Here they are there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from operator import itemgetter

import numpy as np
from msgspec import Struct

from jobmeter.model.sample import Sample
from jobmeter.sinks.hdf5.packing import Packing, cut, missing
from jobmeter.wire.colmet import ColmetRecord, columns, types
from jobmeter.wire.colmet_columns import RECORDS
from jobmeter.wire.colmet_samples import SECOND_NS, involved_text, job_number

TEXT_BYTES = 255
INVOLVED_BYTES = 8192
_ALWAYS = {"hostname": f"S{TEXT_BYTES}", "metric_backend": f"S{TEXT_BYTES}", "job_id": "<i8", "timestamp": "<i8"}
_NOT_IN_TABLE = {"procstats_default": frozenset({"involved_jobs"})}
_ONLY_IN_TABLE = {"procstats_default": ("meminfo_hardwarecorrupted",)}
_TYPES = {"s": f"S{INVOLVED_BYTES}", "f": "<f4"}
_OWN = {"instance": f"S{TEXT_BYTES}", "job": f"S{TEXT_BYTES}", "time_ns": "<i8", "involved_jobs": f"S{INVOLVED_BYTES}"}
_TAKEN = frozenset({"", *_ALWAYS, *_OWN})
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]")
_TABLE_NAME_MAX = 200
_COLUMN_BYTES, _COLUMNS_MAX_BYTES = 32, 60_000
"""How much a column takes of the 64 KiB that HDF5 has for the description of a table, besides its name."""


class Row(Struct, frozen=True):
    """The values of one row in the order of its packing's names, and the table that it belongs to."""

    group: str
    table: str
    packing: Packing
    values: Sequence[object]


def _layout(found: dict[str, str]) -> np.dtype:
    return np.dtype(sorted(found.items()))


def _layout_of(kind: str) -> np.dtype:
    left_out = _NOT_IN_TABLE.get(kind, frozenset())
    named = zip(columns(kind), types(kind), strict=True)
    counters = {name: _TYPES.get(form, "<i8") for name, form in named if name not in left_out}
    counters.update(dict.fromkeys(_ONLY_IN_TABLE.get(kind, ()), "<i8"))
    return _layout({**counters, **_ALWAYS})


LAYOUTS = {record.name: _layout_of(record.name) for record in RECORDS}


class _Class(Struct, frozen=True):
    """How a record's values, its text fields, its job, its time, and None at the end, come into the columns' order."""

    packing: Packing
    ordered: Callable[[Sequence[object]], tuple[object, ...]]
    name: bytes
    has_text: bool


def _class_of(kind: str) -> _Class:
    packing = Packing(LAYOUTS[kind])
    given = [*columns(kind), "hostname", "metric_backend", "job_id", "timestamp"]
    places = {name: place for place, name in enumerate(given)}
    ordered = itemgetter(*(places.get(name, len(given)) for name in packing.names))
    return _Class(packing, ordered, kind.encode(), types(kind)[-1] == "s")


_CLASSES = {kind: _class_of(kind) for kind in LAYOUTS}


def row_of_record(record: ColmetRecord) -> Row:
    """The row of a record of Colmet."""
    known = _CLASSES[record.kind]
    values: Sequence[object] = record.values
    if known.has_text:
        values = (*record.values[:-1], _text(str(record.values[-1] or ""), INVOLVED_BYTES))
    host = _text(record.host, TEXT_BYTES)
    given = (*values, host, known.name, record.job, record.stamp_seconds, None)
    return Row(f"job_{record.job}", record.kind, known.packing, known.ordered(given))


def packing_of_source(metrics: Sequence[str], *, with_involved: bool) -> Packing:
    """The layout of a table for samples that Colmet has no class for. Raises ValueError where there can be none."""
    if not metrics or len(set(metrics)) < len(metrics):
        raise ValueError("it names no metric, or one twice")
    if any(name in _TAKEN or "\0" in name for name in metrics):
        raise ValueError("a metric has the name of a column of ours, or none")
    if sum(len(name.encode()) + _COLUMN_BYTES for name in metrics) > _COLUMNS_MAX_BYTES:
        raise ValueError(f"a table cannot have {len(metrics)} columns with such names")
    own = {name: form for name, form in _OWN.items() if with_involved or name != "involved_jobs"}
    return Packing(_layout({**dict.fromkeys(metrics, "<f8"), **_ALWAYS, **own}))


def row_of_sample(sample: Sample, packing: Packing) -> Row:
    """The row of such a sample."""
    number = job_number(sample.job)
    values: dict[str, object] = dict(zip(sample.metrics, sample.values, strict=True))
    values.update(
        hostname=_text(sample.node, TEXT_BYTES),
        metric_backend=_text(sample.source, TEXT_BYTES),
        job_id=number,
        timestamp=sample.time_ns // SECOND_NS,
        time_ns=sample.time_ns,
        instance=_text(sample.instance, TEXT_BYTES),
        job=_text("" if sample.job is None else sample.job.shown, TEXT_BYTES),
    )
    if sample.involved:
        values["involved_jobs"] = _text(involved_text(sample.involved), INVOLVED_BYTES)
    row = [values.get(name) for name in packing.names]
    return Row(f"job_{number}", _table_name(sample.source), packing, row)


def _table_name(source: str) -> str:
    """The source as a name that HDF5 can give: no path, and none that is no word."""
    return _UNSAFE.sub("_", source)[:_TABLE_NAME_MAX].strip(".") or "_"


def fitted(block: np.ndarray, layout: np.dtype) -> np.ndarray:
    """The rows in another layout, which may have other columns, as Colmet's files have."""
    if block.dtype == layout:
        return block
    table = np.zeros(len(block), layout)
    for name in layout.names or ():
        table[name] = block[name] if name in (block.dtype.names or ()) else missing(layout[name])
    return table


def _text(text: str, size: int) -> bytes:
    return cut(text.encode("utf-8", "replace"), size)
