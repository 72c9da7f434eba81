"""The facility as Prometheus gauges, made of the newest documents in the background."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, NamedTuple

import msgspec
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from jobmeter.contract import Clock, DocumentStore, StoreUnavailable
from jobmeter.model.facility import Received
from jobmeter.serve.facility import HOST_KINDS, NEWEST
from jobmeter.serve.reads import Readers

log = logging.getLogger("jobmeter.serve")

_fields = msgspec.json.Decoder(dict[str, Any]).decode
_WINDOWS = {"day": 1, "week": 7, "month": 30}
_MIB = 2**20

_FAMILIES = {
    "jobmeter_facility_users": ("Different people who used the facility in the last days.", ("window", "access")),
    "jobmeter_facility_queue_jobs": ("Jobs of a queue.", ("cluster", "queue", "state")),
    "jobmeter_facility_queue_cores": ("Cores that jobs of a queue hold.", ("cluster", "queue")),
    "jobmeter_facility_queue_memory_bytes": ("Memory that jobs of a queue hold.", ("cluster", "queue")),
    "jobmeter_facility_host_load": ("Load of the last minute.", ("cluster", "host")),
    "jobmeter_facility_host_memory_bytes": ("Memory of a host.", ("cluster", "host", "part")),
    "jobmeter_facility_host_network_bytes_per_second": ("Traffic of a host.", ("cluster", "host", "direction")),
    "jobmeter_facility_host_disk_bytes": ("Space of a mount of a host.", ("cluster", "host", "mount", "part")),
    "jobmeter_facility_document_timestamp_seconds": ("When the newest document was true.", ("cluster", "kind")),
}

Sample = tuple[str, tuple[str, ...], float]
"""Family, values of its labels, value."""


class Rhythm(NamedTuple):
    """How many days documents are kept (None: for ever), and how often gauges are made, in seconds."""

    keep_days: float | None
    every_seconds: float


class FacilityGauges(Collector):
    """The gauges as they were last made."""

    def __init__(self) -> None:
        self._samples: list[Sample] = []

    def show(self, samples: list[Sample]) -> None:
        """Show these from now on."""
        self._samples = samples

    def collect(self) -> Iterator[Metric]:
        """The gauges as Prometheus families; none without documents."""
        families: dict[str, GaugeMetricFamily] = {}
        for name, labels, value in self._samples:
            if name not in families:
                told, keys = _FAMILIES[name]
                families[name] = GaugeMetricFamily(name, told, labels=keys)
            families[name].add_metric(labels, value)
        yield from families.values()


async def watch_for_ever(
    store: DocumentStore, readers: Readers, gauges: FacilityGauges, clock: Clock, rhythm: Rhythm
) -> None:
    """Make the gauges anew every so often, and drop documents that are too old once an hour."""
    keep_days, every_seconds = rhythm
    pruned = 0.0
    while True:
        try:
            gauges.show(await readers.ask(samples, store, clock))
            loop_time = asyncio.get_running_loop().time()
            if keep_days is not None and loop_time - pruned > 3600:
                pruned = loop_time
                gone = await readers.ask(store.prune, clock.now() - timedelta(days=keep_days))
                if gone:
                    log.info("documents.pruned documents=%d", gone)
        except StoreUnavailable as fault:
            log.warning("gauges.failed reason=%r", str(fault))
        except Exception:  # a supervisor loop: the next round may go well
            log.exception("gauges.failed")
        await asyncio.sleep(every_seconds)


def samples(store: DocumentStore, clock: Clock) -> list[Sample]:
    """All gauges now."""
    now = clock.now()
    found: list[Sample] = []
    newest: dict[tuple[str, str], float] = {}
    for document in store.newest(None, None, (*HOST_KINDS, "condorqueue"), now - NEWEST):
        found += _of(document)
        key, seconds = (document.cluster, document.kind), document.observed.timestamp()
        newest[key] = max(newest.get(key, 0.0), seconds)
    found += [("jobmeter_facility_document_timestamp_seconds", key, seconds) for key, seconds in newest.items()]
    tomorrow = now.date() + timedelta(days=1)
    for window, days in _WINDOWS.items():
        (count,) = store.users(None, None, [(tomorrow - timedelta(days=days), tomorrow)])
        if count.any:
            for access, number in {"any": count.any, **count.by_access}.items():
                found.append(("jobmeter_facility_users", (window, access), float(number)))
    return sorted(found)


def _of(document: Received) -> Iterator[Sample]:
    fields = _fields(document.body)
    place = (document.cluster, document.node or "")
    match document.kind:
        case "condorqueue":
            yield from _of_queue((document.cluster, document.subject or ""), fields)
        case "CPU":
            yield "jobmeter_facility_host_load", place, fields["load"]
        case "MEM":
            for part in ("total", "available"):
                yield "jobmeter_facility_host_memory_bytes", (*place, part), fields[part]
        case "NETWORK":
            network = fields["network"]
            for direction in ("sent", "received"):
                if network["interval"] > 0:
                    rate = network[direction] / network["interval"]
                    yield "jobmeter_facility_host_network_bytes_per_second", (*place, direction), rate
        case "DISK":
            for part in ("total", "used", "free"):
                yield "jobmeter_facility_host_disk_bytes", (*place, fields["mount"], part), fields[part]


def _of_queue(queue: tuple[str, str], fields: dict[str, Any]) -> Iterator[Sample]:
    for state in ("idle", "running", "held"):
        yield "jobmeter_facility_queue_jobs", (*queue, state), fields[state]
    if fields.get("allocated_cores") is not None:
        yield "jobmeter_facility_queue_cores", queue, fields["allocated_cores"]
    if fields.get("allocated_mem") is not None:
        yield "jobmeter_facility_queue_memory_bytes", queue, fields["allocated_mem"] * _MIB
