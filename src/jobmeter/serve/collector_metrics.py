"""The collectors in `/metrics`, as they reported last. Asked of the database at each scrape: a few rows."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from jobmeter.bookkeeping import Collections
from jobmeter.contract import StoreUnavailable

_LABELS = ["source", "spool"]


class CollectorStates(Collector):
    """One row per spool."""

    def __init__(self, ledger: Collections) -> None:
        self._ledger = ledger

    def describe(self) -> list[Metric]:
        """Nothing beforehand: the database is not asked until somebody wants to know."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The states as Prometheus families; none while the database does not answer."""
        try:
            states = self._ledger.states()
        except StoreUnavailable:
            return
        seen = GaugeMetricFamily(
            "jobmeter_collector_last_seen_timestamp_seconds", "When a collector last reported.", labels=_LABELS
        )
        waiting = GaugeMetricFamily(
            "jobmeter_collector_waiting_records", "Records that wait in a collector's spool.", labels=_LABELS
        )
        letters = GaugeMetricFamily(
            "jobmeter_collector_dead_letters", "Dead letters in a collector's spool.", labels=_LABELS
        )
        for state in states:
            labels = [state.source, state.spool]
            seen.add_metric(labels, state.reported_us / 1_000_000)
            waiting.add_metric(labels, state.waiting)
            letters.add_metric(labels, state.letters)
        if states:
            yield from (seen, waiting, letters)
