"""What a collector's daemon says of itself."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from datetime import datetime

from jobmeter.deliver.announcements import Announcements
from jobmeter.deliver.fault import SpoolFault
from jobmeter.deliver.spool import Spool
from jobmeter.deliver.tally import COUNTERS
from jobmeter.run.collector.daemon import Collector
from jobmeter.run.exposition import Figure, of_process, rendered
from jobmeter.settings.deployment import Deployment

_PREFIX = "jobmeter_collect_"

log = logging.getLogger("jobmeter.run")


class SelfMetrics:
    """The metrics of one daemon. `text` may be called from several threads."""

    def __init__(self, collector: Collector, spool: Spool, deployment: Deployment) -> None:
        self._collector = collector
        self._spool = spool
        self._deployment = deployment
        self._started = time.time()

    def text(self) -> str:
        """All metrics now. What the spool cannot say at this moment is left out."""
        labels = {"source": self._deployment.source}
        return rendered(figure._replace(labels=labels) for figure in self._metrics())

    def _metrics(self) -> Iterator[Figure]:
        try:
            yield from self._of_spool()
        except SpoolFault as fault:
            log.warning("metrics.spool_unavailable reason=%r", fault.reason)
        yield from self._of_loops()
        yield from of_process(self._started)

    def _of_spool(self) -> Iterator[Figure]:
        status = self._spool.status()
        yield _gauge("waiting", "Records that wait for the server.", status.entries)
        yield _gauge("waiting_bytes", "Bytes of the records that wait.", status.entries_bytes)
        yield _gauge("oldest_waiting_seconds", "How long the oldest of them waits.", status.oldest_seconds)
        yield _gauge("dead_letters", "Dead letters that are kept.", status.letters)
        if self._deployment.hook is not None:
            pending = len(Announcements(self._deployment.spool_file).pending())
            yield _gauge("announced_jobs", "Announced jobs that could not be taken yet.", pending)
        for name, meaning in COUNTERS.items():
            yield _counter(name, f"{meaning[:1].upper()}{meaning[1:]}.", status.counters[name])

    def _of_loops(self) -> Iterator[Figure]:
        reading, delivery = self._collector.reading, self._collector.delivery
        yield _counter("readings", "Readings of the batch system that succeeded.", reading.succeeded)
        yield _counter("reading_failures", "Readings that failed.", reading.failed)
        yield _gauge("reading_failures_in_a_row", "Readings that failed since the last success.", reading.in_a_row)
        yield _gauge("last_reading_timestamp_seconds", "When a reading last succeeded.", _seconds(reading.last))
        yield _gauge("last_reading_seconds", "How long it took.", reading.took_seconds)
        yield _gauge(
            "newest_job_end_timestamp_seconds",
            "When the job that ended last of all read ones ended.",
            _seconds(reading.newest),
        )
        yield _counter("sends", "Groups of records offered to the server.", delivery.sends)
        yield _gauge("send_failures_in_a_row", "Groups that the server did not take, in a row.", delivery.failures)
        yield _gauge(
            "last_delivery_timestamp_seconds", "When the server last took a group.", _seconds(self._collector.delivered)
        )


def _gauge(name: str, meaning: str, value: float | None) -> Figure:
    return Figure(_PREFIX + name, "gauge", meaning, value)


def _counter(name: str, meaning: str, value: float) -> Figure:
    return Figure(f"{_PREFIX}{name}_total", "counter", meaning, value)


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
