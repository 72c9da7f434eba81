"""Counts of stored records for `/metrics`, taken in the background so that a scrape never waits for the database."""

from __future__ import annotations

import asyncio
import logging

from jobmeter.contract import RecordStore, StoreUnavailable
from jobmeter.keeping import ConflictStore
from jobmeter.serve.meter import Facet, Meter
from jobmeter.serve.reads import Readers
from jobmeter.serve.settings import DatabaseMetric, DatabaseMetrics

log = logging.getLogger("jobmeter.serve")

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
            try:
                meter.stored_counts.keep(facet, await readers.ask(store.counts, facet.key))
            except StoreUnavailable as fault:
                meter.counting_failures.inc()
                log.warning("counting.failed metric=%s reason=%r", name, str(fault))
            except Exception:  # a supervisor loop: counting goes on whatever one count met
                meter.counting_failures.inc()
                log.exception("counting.failed metric=%s", name)
        await asyncio.sleep(settings.frequency)


async def count_conflicts_for_ever(store: ConflictStore, readers: Readers, meter: Meter, every_seconds: float) -> None:
    """Count the open conflicts at once and then every so often."""
    while True:
        try:
            meter.conflict_counts.keep(await readers.ask(store.count))
        except StoreUnavailable as fault:
            meter.counting_failures.inc()
            log.warning("counting.failed metric=conflicts reason=%r", str(fault))
        except Exception:  # a supervisor loop: counting goes on whatever one count met
            meter.counting_failures.inc()
            log.exception("counting.failed metric=conflicts")
        await asyncio.sleep(every_seconds)
