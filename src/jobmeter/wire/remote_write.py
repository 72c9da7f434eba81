"""Prometheus remote write, version 1.0: samples as the protocol buffer `WriteRequest`, in a Snappy block.

Sources of the facts: the remote write specification 1.0 (prometheus.io), `prompb/remote.proto` and `types.proto` for
the numbers of the fields, and Snappy's format description: a block of literals alone is a valid block.

Names follow Prometheus' rules: base units, the unit at the end, `_total` for counters.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Mapping, Sequence

from jobmeter.model.job import JobIdentity
from jobmeter.model.metric import Kind, Metric
from jobmeter.model.sample import Sample

MILLISECOND_NS = 1_000_000
PREFIX = "jobmeter_"
PRESENCE = "jobmeter_node_job"
"""1 for every job that was on a node when something of the node was measured: joins node-wide series with jobs."""

_BASE_UNITS: Mapping[str, tuple[str, float]] = {
    "nanoseconds": ("seconds", 1e-9),
    "microseconds": ("seconds", 1e-6),
    "milliseconds": ("seconds", 1e-3),
    "centiseconds": ("seconds", 1e-2),
    "kibibytes": ("bytes", 1024.0),
    "mebibytes": ("bytes", 1024.0 * 1024),
    "microjoules": ("joules", 1e-6),
    "millijoules": ("joules", 1e-3),
    "milliwatts": ("watts", 1e-3),
    "microwatts": ("watts", 1e-6),
    "millidegrees_celsius": ("celsius", 1e-3),
    "degrees_celsius": ("celsius", 1.0),
    "percent": ("ratio", 0.01),
    "count": ("", 1.0),
}
_NO_NAME = re.compile(r"[^a-zA-Z0-9_]", re.ASCII)
_LITERAL_BYTES = 65_536
_LITERAL_TAG = 61 << 2

Labels = tuple[tuple[str, str], ...]


def prometheus_name(metric: Metric) -> str:
    """The name of the series of a metric: `jobmeter_cgroup_cpu_usage_seconds_total`."""
    unit, _ = _BASE_UNITS.get(metric.unit, (_NO_NAME.sub("_", metric.unit), 1.0))
    name = PREFIX + _NO_NAME.sub("_", metric.name)
    if unit and not name.endswith(f"_{unit}"):
        name += f"_{unit}"
    return name + "_total" if metric.kind is Kind.COUNTER else name


def series(samples: Iterable[Sample], catalogue: Mapping[str, Metric]) -> dict[Labels, list[tuple[int, float]]]:
    """The points of each series, in milliseconds and base units, in the order of time. A metric without an entry in the
    catalogue has no unit, and gives none.
    """
    found: dict[Labels, list[tuple[int, float]]] = {}
    for sample in samples:
        at = sample.time_ns // MILLISECOND_NS
        place = [("node", sample.node), *_of_job(sample.job), ("device", sample.instance)]
        for name, value in zip(sample.metrics, sample.values, strict=True):
            metric = catalogue.get(name)
            if metric is not None and value is not None:
                factor = _BASE_UNITS.get(metric.unit, ("", 1.0))[1]
                found.setdefault(_labels(prometheus_name(metric), place), []).append((at, value * factor))
        for job in sample.involved:
            found.setdefault(_labels(PRESENCE, [("node", sample.node), *_of_job(job)]), []).append((at, 1.0))
    return {labels: sorted(set(points)) for labels, points in found.items()}


def encode(found: Mapping[Labels, Sequence[tuple[int, float]]]) -> bytes:
    """The body of a request."""
    return snappy(b"".join(_field(1, _series(labels, points)) for labels, points in found.items()))


def snappy(plain: bytes) -> bytes:
    """A Snappy block that holds the bytes as they are."""
    parts = [_varint(len(plain))]
    for start in range(0, len(plain), _LITERAL_BYTES):
        piece = plain[start : start + _LITERAL_BYTES]
        parts += [struct.pack("<BH", _LITERAL_TAG, len(piece) - 1), piece]
    return b"".join(parts)


def _of_job(job: JobIdentity | None) -> list[tuple[str, str]]:
    if job is None:
        return []
    run = [("run", str(job.run))] if job.run else []
    return [("manager", job.manager), ("cluster", job.cluster), ("jobid", job.job), *run]


def _labels(name: str, place: Iterable[tuple[str, str]]) -> Labels:
    return tuple(sorted([("__name__", name), *((key, value) for key, value in place if value)]))


def _series(labels: Labels, points: Sequence[tuple[int, float]]) -> bytes:
    named = b"".join(_field(1, _field(1, key.encode()) + _field(2, value.encode())) for key, value in labels)
    values = b"".join(
        _field(2, b"\x09" + struct.pack("<d", value) + b"\x10" + _varint(at & (2**64 - 1))) for at, value in points
    )
    return named + values


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
