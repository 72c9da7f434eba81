"""A measurement: one value of one metric, for one job or a whole node, at one instant."""

from __future__ import annotations

from msgspec import Struct

from jobmeter.model.job import JobIdentity


class Sample(Struct, frozen=True):
    """`metric` is a name of the catalogue, which gives the unit. `job` is None for the node itself.

    `time_ns` counts from 1970 UTC. For a counter `since_ns` is when it began to count at zero, else None.
    """

    metric: str
    node: str
    job: JobIdentity | None
    time_ns: int
    value: int | float
    since_ns: int | None = None
