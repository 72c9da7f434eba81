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
_ROW_BYTES = 8 * 2 + 4 * len(TEXTS)
_TEXT_BYTES = 150
_NEVER = -(2**63)
_ORDER = ("manager", "cluster", "job", "run")


class Held:
    """Rows with the same metrics of the same source. Of texts each is held once, as hardly any is new in a row."""

    def __init__(self, source: str, metrics: tuple[str, ...]) -> None:
        self.source = source
        self.metrics = metrics
        self._times = array("q")
        self._since = array("q")
        self._texts: tuple[dict[str | None, int], ...] = tuple({} for _ in TEXTS)
        self._places: tuple[array[int], ...] = tuple(array("I") for _ in TEXTS)
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
        took = _ROW_BYTES + 8 * len(values)
        texts = (sample.node, *of_job, sample.instance, involved)
        for known, places, text in zip(self._texts, self._places, texts, strict=True):
            place = known.get(text)
            if place is None:
                place = known[text] = len(known)
                took += _TEXT_BYTES + len(text or "")
            places.append(place)
        return took

    def columns(self) -> dict[str, np.ndarray]:
        """All rows by job and time: own columns by name, those of metrics as `v0`, `v1`, …, where NaN is not known."""
        order = self._order()
        table = np.frombuffer(self._values, np.float64).reshape(-1, len(self.metrics))
        texts = {
            name: np.array(list(known), object)[np.frombuffer(places, np.uint32)[order]]
            for name, known, places in zip(TEXTS, self._texts, self._places, strict=True)
        }
        since = np.ma.masked_equal(np.frombuffer(self._since, np.int64)[order], _NEVER)
        own: dict[str, np.ndarray] = {"time_ns": np.frombuffer(self._times, np.int64)[order], "since_ns": since}
        return {**own, **texts, **{f"v{place}": table[order, place] for place in range(len(self.metrics))}}

    def _order(self) -> np.ndarray:
        """The rows by job and time. Sorted here, as a database that sorts takes as much memory again."""
        keys: list[np.ndarray] = [np.frombuffer(self._times, np.int64)]
        for name in reversed(_ORDER):
            known = self._texts[TEXTS.index(name)]
            ranked = sorted(known, key=lambda text: (text is None, text or ""))
            ranks = np.empty(len(known), np.uint32)
            ranks[[known[text] for text in ranked]] = np.arange(len(known), dtype=np.uint32)
            keys.append(ranks[np.frombuffer(self._places[TEXTS.index(name)], np.uint32)])
        return np.lexsort(keys)


def are_columns(metrics: Sequence[str]) -> bool:
    """Whether these can be the columns of a table: at least one, no two alike, none like ours; case does not count."""
    names = {name.casefold() for name in metrics}
    return bool(metrics) and len(names) == len(metrics) and names.isdisjoint(OWN) and "" not in names
