"""A sample: what one source read of one job, or of a whole node, at one instant."""

from __future__ import annotations

from msgspec import Struct

from jobmeter.model.job import JobIdentity
from jobmeter.model.metric import Metric


class Sample(Struct, frozen=True, gc=False):
    """Values of several metrics, read together by the source that `source` names.

    `metrics` are names of the catalogue, which gives units; `values` stand in the same order, None where the kernel
    or device gave no value this time. `job` is None for the node itself; then `involved` are the jobs that were on it.
    `instance` tells devices of one kind apart ("sda", "package-0", "mlx5_0/1"), empty where there is but one.
    `time_ns` counts from 1970 UTC. Counters are cumulative; `since_ns` is when they began at zero, None if not known.
    """

    source: str
    node: str
    job: JobIdentity | None
    time_ns: int
    metrics: tuple[str, ...]
    values: tuple[int | float | None, ...]
    instance: str = ""
    since_ns: int | None = None
    involved: tuple[JobIdentity, ...] = ()


class JobEnd(Struct, frozen=True):
    """The news that a job is no longer on a node; all samples of it there came before."""

    job: JobIdentity
    node: str
    time_ns: int


class SampleBatch(Struct, frozen=True):
    """What a node sends at once: samples, the catalogue entries that explain them, and the ends of jobs."""

    node: str
    samples: tuple[Sample, ...]
    metrics: tuple[Metric, ...] = ()
    ends: tuple[JobEnd, ...] = ()
