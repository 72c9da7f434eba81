"""Counts of stored records for `/metrics`, taken in the background so that a scrape never waits for the database."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from types import MappingProxyType
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


_KEYS = MappingProxyType(
    {Facet.SITE: ("site", "site_id"), Facet.GROUP: ("group", "group_id"), Facet.USER: ("user", "user_id")}
)
"""The meta keys that facets are made of."""


def chosen_keys(settings: DatabaseMetrics) -> dict[Facet, str]:
    """The facets that are to be counted by one key of the operator's."""
    named = {"Site": settings.meta_key_site, "Group": settings.meta_key_group, "User": settings.meta_key_user}
    found = {}
    for name in settings.metrics:
        facet, key = _FACETS[name], named.get(name.removeprefix("RecordCountPer"))
        if key is not None and key not in _KEYS[facet]:
            found[facet] = key
    return found


async def choose_keys(store: RecordStore, readers: Readers, settings: DatabaseMetrics, meter: Meter) -> None:
    """Have counts kept by the keys of the settings; a database that fails is asked again."""
    keys = sorted({*chosen_keys(settings).values(), *settings.meta_keys})
    while not await _counted("meta keys", meter, readers, _chosen, store, keys):
        await asyncio.sleep(settings.frequency)


def _chosen(store: RecordStore, keys: Sequence[str]) -> bool:
    store.counted.choose(keys)
    return True


async def count_for_ever(store: RecordStore, readers: Readers, settings: DatabaseMetrics, meter: Meter) -> None:
    """Count at once and then every `frequency` seconds. A database that fails is asked again the next time."""
    keys, shown = chosen_keys(settings), meter.stored_counts
    while settings.metrics or settings.meta_keys:
        for name in settings.metrics:
            facet = _FACETS[name]
            if facet in keys:
                counts = await _counted(name, meter, readers, store.counted.of, keys[facet])
            else:
                counts = await _counted(name, meter, readers, store.counts, facet.key)
            if counts is not None:
                shown.keep(facet, counts)
        for key in settings.meta_keys:
            counts = await _counted(key, meter, readers, store.counted.of, key)
            if counts is not None:
                shown.keep_key(key, counts)
        evicted = await _counted("dead letters", meter, readers, store.letters_evicted)
        if evicted is not None:
            shown.letters_evicted = evicted
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
