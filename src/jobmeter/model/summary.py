"""What is left of a job's samples at its end: a summary, small enough to stand beside its record."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

from msgspec import Meta, Struct

from jobmeter.model.job import JobIdentity
from jobmeter.model.metric import Kind

Nanoseconds = Annotated[int, Meta(ge=0, le=2**63 - 1)]
"""A time since 1970 UTC."""


class EnergySource(Enum):
    """How a job's energy is known."""

    IPMI = "ipmi"
    """Power of whole nodes, over time; the job was alone there."""
    RAPL = "rapl"
    """Meters of processors and memory; the job was alone there."""
    ESTIMATED = "estimated"
    """At least part of it is a share of what nodes used that it had not for itself."""
    NONE = "none"
    """No meter was there."""


class MetricSummary(Struct, frozen=True, omit_defaults=True):
    """One metric of a job over all its nodes and devices.

    Of a gauge: smallest, mean, largest and percentiles of all samples. Of a counter the same of its growth a second
    between samples, and `total`: its growth over the job. `unit` is that of the metric; of rates it is a second's.
    `missing` counts samples in which the metric had no value.
    """

    name: str
    unit: str
    kind: Kind
    samples: int
    missing: int = 0
    min: float | None = None
    mean: float | None = None
    max: float | None = None
    p50: float | None = None
    p90: float | None = None
    p95: float | None = None
    p99: float | None = None
    total: float | None = None
    resets: int = 0
    peak: float | None = None
    """Of a gauge: the largest sum over nodes and devices of their own largest values."""
    since_ns: Nanoseconds | None = None
    """Of a counter: `total` is its growth from then on, when it began. None: from the first sample on."""


class JobSummary(Struct, frozen=True):
    """What a job used.

    `first_ns` and `last_ns` are the times of its first and last sample; `covered_seconds` is for how long of
    `node_seconds`, the time on all nodes together, samples stood close enough that nothing is unknown. `ended` is
    false where a node was not heard of again. `joules` is None where `energy` is none.
    """

    job: JobIdentity
    nodes: tuple[str, ...]
    first_ns: Nanoseconds
    last_ns: Nanoseconds
    samples: int
    node_seconds: float
    covered_seconds: float
    ended: bool
    metrics: tuple[MetricSummary, ...]
    joules: float | None = None
    energy: EnergySource = EnergySource.NONE
    silent: tuple[str, ...] = ()
    """Nodes that did not say that the job ended there."""
    earlier: int = 0
    """How many summaries there were of the same identity before: the job ran again under its number."""

    def metric(self, name: str) -> MetricSummary | None:
        """The summary of one metric."""
        return next((one for one in self.metrics if one.name == name), None)
