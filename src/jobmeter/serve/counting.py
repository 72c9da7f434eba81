"""Counts of stored records for `/metrics`, taken in the background so that a scrape never waits for the database."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from jobmeter.contract import RecordStore, StoreUnavailable
from jobmeter.keeping import ConflictStore
from jobmeter.serve.meter import Facet, Meter
from jobmeter.serve.reads import Readers
from jobmeter.serve.settings import DatabaseMetric, DatabaseMetrics

log = logging.getLogger("jobmeter.serve")

P = ParamSpec("P")
T = TypeVar("T")

_FACETS: dict[DatabaseMetric, Facet] = {
    "RecordCount": Facet.ALL,
    "RecordCountPerSite": Facet.SITE,
    "RecordCountPerGroup": Facet.GROUP,
    "RecordCountPerUser": Facet.USER,
}


async def count_for_ever(store: RecordStore, readers: Readers, settings: DatabaseMetrics, meter: Meter) -> None:
    """Count at once and then every `frequency` seconds. A database that fails is asked again the next time."""
    while settings.metrics:
        for name in settings.metrics:
            facet = _FACETS[name]
            counts = await _counted(name, meter, readers, store.counts, facet.key)
            if counts is not None:
                meter.stored_counts.keep(facet, counts)
        await asyncio.sleep(settings.frequency)


async def _counted(
    name: str, meter: Meter, readers: Readers, count: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T | None:
    """The count, None where it failed."""
    try:
        return await readers.ask(count, *args, **kwargs)
    except StoreUnavailable as fault:
        meter.counting_failures.inc()
        log.warning("counting.failed metric=%s reason=%r", name, str(fault))
    except Exception:  # a supervisor loop: counting goes on whatever one count met
        meter.counting_failures.inc()
        log.exception("counting.failed metric=%s", name)
    return None


class ConflictCounts(Collector):
    """Conflicts as they were last counted."""

    def __init__(self) -> None:
        self._counts: tuple[int, int] | None = None

    def keep(self, counts: tuple[int, int]) -> None:
        """Show these from now on: open ones, and open ones that had to go for newer ones."""
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        """The counts as Prometheus families."""
        if self._counts is not None:
            still, gone = self._counts
            yield GaugeMetricFamily("jobmeter_conflicts_open", "Conflicts that nobody has decided.", still)
            yield CounterMetricFamily("jobmeter_conflicts_evicted", "Open conflicts that went for newer ones.", gone)


async def count_conflicts_for_ever(
    store: ConflictStore, readers: Readers, shown: ConflictCounts, meter: Meter, every_seconds: float
) -> None:
    """Count the open conflicts at once and then every so often."""
    while True:
        counts = await _counted("conflicts", meter, readers, store.count)
        if counts is not None:
            shown.keep(counts)
        await asyncio.sleep(every_seconds)
