"""What the server counts about itself, for `/metrics`: one registry per application, no state of the process."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from itertools import groupby
from time import perf_counter

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from jobmeter.serve.answer import UNANSWERED, Endpoint, Receive, Scope, Send
from jobmeter.serve.settings import SHARED_FOLDER

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


_DOCUMENT_KINDS = frozenset(
    {"ssh", "jupyter-ml", "jupyter-coffea", "condorqueue", "condorjob", "CPU", "MEM", "NETWORK", "DISK"}
)


class Fate(Enum):
    """What became of a record that somebody wanted stored."""

    NEW = "new"
    SAME = "same"
    CONFLICT = "conflict"
    INVALID = "invalid"
    FORBIDDEN = "forbidden"


class Facet(Enum):
    """What stored records are counted by: the store's facet, the metric's name, the metric's label."""

    ALL = (None, "num_records_database", None)
    SITE = ("site", "num_records_database_per_site", "site")
    GROUP = ("group", "num_records_database_per_group", "group_id")
    USER = ("user", "num_records_database_per_user", "user_id")

    @property
    def key(self) -> str | None:
        """The facet as the record store calls it."""
        key: str | None = self.value[0]
        return key


class StoredCounts(Collector):
    """The last counts of the database. A facet or key that was never counted, or has no values, is left out."""

    def __init__(self) -> None:
        self._counts: dict[Facet, Mapping[str, int]] = {}
        self._by_key: dict[str, Mapping[str, int]] = {}
        self.letters_evicted: int | None = None

    def keep_key(self, key: str, counts: Mapping[str, int]) -> None:
        """Show these counts by the values under a meta key from now on."""
        self._by_key[key] = counts

    def keep(self, facet: Facet, counts: Mapping[str, int]) -> None:
        """Show these counts from now on."""
        self._counts[facet] = counts

    def collect(self) -> Iterator[Metric]:
        """The counts as Prometheus families."""
        for facet, counts in list(self._counts.items()):
            _, name, label = facet.value
            family = GaugeMetricFamily(
                name, "Number of records in the database", labels=[] if label is None else [label]
            )
            for value, count in counts.items():
                family.add_metric([] if label is None else [value], count)
            if counts:
                yield family
        by_key = GaugeMetricFamily(
            "num_records_database_per_meta_key", "Number of records in the database", labels=["key", "value"]
        )
        for key, counts in list(self._by_key.items()):
            for value, count in counts.items():
                by_key.add_metric([key, value], count)
        if by_key.samples:
            yield by_key
        if self.letters_evicted is not None:
            yield CounterMetricFamily(
                "jobmeter_dead_letters_evicted", "Dead letters that went for newer ones.", self.letters_evicted
            )


class Meter:
    """The counters of one application."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.stored_counts = StoredCounts()
        self._told: list[Collector] = []
        self._more: list[Collector] = []
        self.registry.register(self.stored_counts)
        self._seconds = Histogram(
            "http_server_duration_seconds",
            "Time from the head of a request to the end of its answer.",
            ["http_route", "http_request_method", "http_response_status_code"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._active = Gauge(
            "http_server_active_requests",
            "Requests being answered.",
            ["http_route", "http_request_method"],
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        records = Counter(
            "jobmeter_records",
            "Records that were sent, by what became of them.",
            ["outcome"],
            registry=self.registry,
        )
        self.records = {fate: records.labels(fate.value) for fate in Fate}
        self._documents = Counter(
            "jobmeter_documents", "Facility documents that were stored, by kind.", ["kind"], registry=self.registry
        )
        self._documents_refused = Counter(
            "jobmeter_documents_refused", "Posts of facility documents that were refused.", ["status"],
            registry=self.registry,
        )  # fmt: skip
        self.letters = Counter(
            "jobmeter_dead_letters", "Writes refused for good and kept with the reason.", registry=self.registry
        )
        self.unanswered = Counter(
            "jobmeter_writes_unanswered",
            "Writes that could not be stored at the time; the connection was closed so that the client keeps them.",
            registry=self.registry,
        )
        self.streams_broken = Counter(
            "jobmeter_streams_broken",
            "Lists of records that were broken off before their end.",
            ["cause"],
            registry=self.registry,
        )
        self.group_records = Histogram(
            "jobmeter_write_group_records",
            "Records written in one transaction.",
            buckets=_SIZES,
            registry=self.registry,
        )
        self.write_seconds = Histogram(
            "jobmeter_write_seconds", "Time of one transaction.", buckets=_SECONDS, registry=self.registry
        )
        self.counting_failures = Counter(
            "jobmeter_counting_failures", "Counts of the database that failed.", registry=self.registry
        )

    def tell(self, told: Collector) -> None:
        """Show further metrics, which every worker tells for itself."""
        self.registry.register(told)
        self._told.append(told)

    def exposition(self) -> bytes:
        """All counters as Prometheus text; with several workers their sum, whichever is asked."""
        shared = os.environ.get(SHARED_FOLDER)
        if shared is None:
            return generate_latest(self.registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry, shared)  # type: ignore[no-untyped-call]
        for collector in (self.stored_counts, *self._more):
            registry.register(collector)
        return generate_latest(registry)

    def fates(self) -> dict[Fate, int]:
        """How many records had which fate, as far as this process counted."""
        return {
            fate: int(sample.value)
            for fate, counter in self.records.items()
            for family in counter.collect()
            for sample in family.samples
            if sample.name.endswith("_total")
        }

    def count(self, fates: Iterable[Fate]) -> None:
        """Count what became of records. Mostly it is the same for one after the other."""
        for fate, same in groupby(fates):
            self.records[fate].inc(sum(1 for _ in same))

    def show(self, collector: Collector) -> None:
        """Show further metrics, made by somebody else."""
        self._more.append(collector)
        self.registry.register(collector)

    def document(self, kind: str) -> None:
        """Count a facility document. Kinds that nobody knows are counted together: there may be any number of them."""
        self._documents.labels(kind if kind in _DOCUMENT_KINDS else "other").inc()

    def documents_refused(self, status: int) -> None:
        """Count a post of facility documents that was refused."""
        self._documents_refused.labels(str(status)).inc()

    def measured(self, route: str, method: str, endpoint: Endpoint) -> Endpoint:
        """The endpoint, counted and timed under the name of its route."""
        active = self._active.labels(route, method)
        seconds = self._seconds
        by_status: dict[int, Histogram] = {}

        async def serve(scope: Scope, receive: Receive, send: Send) -> int:
            began = perf_counter()
            active.inc()
            status = 500
            try:
                status = await endpoint(scope, receive, send)
            finally:
                active.dec()
                child = by_status.get(status)
                if child is None:
                    text = "" if status == UNANSWERED else str(status)
                    child = by_status[status] = seconds.labels(route, method, text)
                child.observe(perf_counter() - began)
            return status

        return serve
