"""Rows of one kind in memory, column by column, until a file is made of them."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence

import numpy as np

from jobmeter.model.sample import Sample

TEXTS = ("node", "manager", "cluster", "job", "run", "instance", "involved")
OWN = frozenset({*TEXTS, "time", "time_ns", "since_ns"})
SEPARATOR = "\x1f"
"""Stands between the jobs that were on a node."""
_ROW_BYTES = 8 * (2 + len(TEXTS))
_NEVER = -(2**63)


class Held:
    """Rows with the same metrics of the same source."""

    def __init__(self, source: str, metrics: tuple[str, ...]) -> None:
        self.source = source
        self.metrics = metrics
        self._times = array("q")
        self._since = array("q")
        self._texts: tuple[list[str | None], ...] = tuple([] for _ in TEXTS)
        self._values = array("d")

    def add(self, sample: Sample) -> int:
        """Take a sample; gives the bytes that it takes about. Raises OverflowError for what no column can hold."""
        values = array("d", [math.nan if value is None else value for value in sample.values])
        times = array("q", (sample.time_ns, _NEVER if sample.since_ns is None else sample.since_ns))
        self._times.append(times[0])
        self._since.append(times[1])
        self._values.extend(values)
        job = sample.job
        involved = SEPARATOR.join(job.shown for job in sample.involved) if sample.involved else None
        of_job = (None,) * 4 if job is None else (job.manager, job.cluster, job.job, str(job.run))
        for column, text in zip(self._texts, (sample.node, *of_job, sample.instance, involved), strict=True):
            column.append(text)
        return _ROW_BYTES + 8 * len(values) + len(involved or "")

    def columns(self) -> dict[str, np.ndarray]:
        """All rows: own columns by name, those of the metrics as `v0`, `v1`, …, in which NaN is not known."""
        table = np.frombuffer(self._values, np.float64).reshape(-1, len(self.metrics))
        texts = {name: np.array(column, object) for name, column in zip(TEXTS, self._texts, strict=True)}
        since = np.ma.masked_equal(np.frombuffer(self._since, np.int64), _NEVER)
        own: dict[str, np.ndarray] = {"time_ns": np.frombuffer(self._times, np.int64), "since_ns": since}
        return {**own, **texts, **{f"v{place}": table[:, place].copy() for place in range(len(self.metrics))}}


def are_columns(metrics: Sequence[str]) -> bool:
    """Whether these can be the columns of a table: at least one, no two alike, none like ours; case does not count."""
    names = {name.casefold() for name in metrics}
    return bool(metrics) and len(names) == len(metrics) and names.isdisjoint(OWN) and "" not in names
