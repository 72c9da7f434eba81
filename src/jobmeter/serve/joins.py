"""What became of joins, counted for /metrics."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class Joins:
    """The counters of joining."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._joined = Counter("jobmeter_joins", "Records that got what a job's summary says.", registry=registry)
        self._refused = Counter(
            "jobmeter_joins_refused", "Joined records that the database could not hold.", registry=registry
        )
        self._given_up = Counter(
            "jobmeter_summaries_given_up", "Summaries whose record did not come in time.", registry=registry
        )
        self._waiting = Gauge(
            "jobmeter_summaries_waiting",
            "Summaries that waited for their record when all were last looked through.",
            registry=registry,
            multiprocess_mode="max",
        )

    def joined(self, count: int) -> None:
        """So many records were joined."""
        self._joined.inc(count)

    def refused(self, count: int) -> None:
        """So many records could not be."""
        self._refused.inc(count)

    def given_up(self, count: int) -> None:
        """So many summaries were given up."""
        self._given_up.inc(count)

    def waiting(self, count: int) -> None:
        """So many summaries wait."""
        self._waiting.set(count)
