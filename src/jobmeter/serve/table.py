"""The table of operations: which endpoint serves which path, and what it needs of those who ask."""

from __future__ import annotations

from typing import NamedTuple

from jobmeter.contract import Clock, DocumentStore, RecordStore
from jobmeter.keeping import ArchiveView, ConflictStore, PublicationStore, SampleStore, SummaryStore
from jobmeter.model.access import Role
from jobmeter.model.question import Scope as Rows
from jobmeter.serve.answer import Endpoint
from jobmeter.serve.collections import Reconcile, ReportOfCollector
from jobmeter.serve.collector_metrics import CollectorStates
from jobmeter.serve.conflicts import ONE_CONFLICT, Conflicts
from jobmeter.serve.disputes import Disputes
from jobmeter.serve.documents import DocumentsIn, DocumentsOut
from jobmeter.serve.door import Need, Refused
from jobmeter.serve.facility import Questions
from jobmeter.serve.gauges import FacilityGauges
from jobmeter.serve.history import Find, History
from jobmeter.serve.joining import Joiner
from jobmeter.serve.joins import Joins
from jobmeter.serve.keyring import Keyring
from jobmeter.serve.letterbox import Letterbox
from jobmeter.serve.listing import Listings
from jobmeter.serve.meter import Meter
from jobmeter.serve.openapi import description
from jobmeter.serve.ours import DeadLetters, RecordsByOutcome
from jobmeter.serve.publications import PublicationsIn, PublicationsOut
from jobmeter.serve.reads import Fixed, HealthCheck, Metrics, OneRecord, Readers
from jobmeter.serve.samples import NoSamples, SampleList, SamplesIn, SampleTails
from jobmeter.serve.settings import ServeSettings
from jobmeter.serve.stream import RecordList, Streams
from jobmeter.serve.summaries import SummariesIn, SummariesOut
from jobmeter.serve.totals import RecordTotals
from jobmeter.serve.writer import Writer
from jobmeter.serve.writes import Writes

ONE_RECORD = "/record/{record_id}"
EVERYTHING = Rows.everything()


class Beside(NamedTuple):
    """What a server may have beside the records; without it the paths say so, or are not there."""

    samples: SampleStore | None = None
    summaries: SummaryStore | None = None
    publications: PublicationStore | None = None
    conflicts: ConflictStore | None = None
    archive: ArchiveView | None = None


NOTHING_BESIDE = Beside()


class Parts(NamedTuple):
    """What endpoints are made of. One of each per application."""

    store: RecordStore
    settings: ServeSettings
    clock: Clock
    meter: Meter
    readers: Readers
    writer: Writer
    letterbox: Letterbox
    streams: Streams
    documents: DocumentStore | None = None
    gauges: FacilityGauges | None = None
    samples: SampleStore | None = None
    summaries: SummaryStore | None = None
    publications: PublicationStore | None = None
    conflicts: ConflictStore | None = None
    archive: ArchiveView | None = None
    joiner: Joiner | None = None


class Entry(NamedTuple):
    """An endpoint in the table, with what it needs of those who ask.

    `unanswered`, `refused`, `form`: see `Door.guarded`; the first is for the writes of AUDITOR's clients, the others
    are for pages.
    """

    needs: Role | Need
    endpoint: Endpoint
    unanswered: bool = False
    refused: Refused | None = None
    form: bool = False


Table = dict[str, dict[str, Entry]]
"""By path and method."""


def parts_of(
    store: RecordStore,
    settings: ServeSettings,
    clock: Clock,
    documents: DocumentStore | None = None,
    beside: Beside = NOTHING_BESIDE,
) -> Parts:
    """The parts over `store`, over `documents` where they are received, and over what is beside."""
    meter = Meter()
    writer = Writer(store, settings.limits, meter, documents, beside.conflicts)
    meter.registry.register(CollectorStates(store.ledger))
    streams = Streams(store, settings.limits, meter)
    gauges = None
    if documents is not None:
        gauges = FacilityGauges()
        meter.show(gauges)
    letterbox = Letterbox(writer, clock)
    readers = Readers()
    writer.names = beside.summaries
    joiner = None
    if beside.summaries is not None and settings.join.components:
        joiner = Joiner(store, beside.summaries, readers, clock, settings.join, Joins(meter.registry))
        writer.heard = joiner
    return Parts(store, settings, clock, meter, readers, writer, letterbox, streams, documents, gauges, *beside, joiner)


def facility_table(parts: Parts, documents: DocumentStore, keyring: Keyring) -> Table:
    """The operations on facility documents. The token stands in each document, as their senders have it."""
    limit_bytes = parts.settings.limits.body_bytes
    taken = Entry(Need.A_TOKEN_WITHIN, DocumentsIn(parts.writer, keyring, limit_bytes, parts.clock, parts.meter))
    found = Entry(Role.READ, DocumentsOut(documents, parts.readers, parts.clock))
    questions = Questions(documents, parts.readers, parts.clock).endpoints()
    return {
        "/": {"POST": taken},
        "/v2/documents": {"GET": found, "POST": taken},
        **{path: {"GET": Entry(Role.READ, endpoint)} for path, endpoint in questions.items()},
    }


def table(parts: Parts) -> Table:
    """All operations."""
    return {
        **_auditors(parts),
        **_records(parts),
        **_samples(parts),
        **_summaries(parts),
        **_conflicts(parts),
        **_publications(parts),
        **_state(parts),
    }


def _finding(parts: Parts) -> Find:
    async def stored(record_id: str) -> bytes | None:
        return await parts.readers.ask(parts.store.one, record_id, EVERYTHING)

    return stored


def _disputes(parts: Parts) -> Disputes:
    return Disputes(parts.writer, parts.store, parts.readers, parts.settings.conflicts, parts.clock, _finding(parts))


def _auditors(parts: Parts) -> Table:
    """The paths of AUDITOR's API. What is to be changed is looked up whoever asks: what counts is what is stored."""
    store, readers, settings = parts.store, parts.readers, parts.settings
    writes = Writes(parts.writer, _disputes(parts), parts.letterbox, settings, parts.meter, _finding(parts))
    return {
        "/record": {
            "POST": Entry(Role.WRITE, writes.post_record, unanswered=True),
            "PUT": Entry(Role.WRITE, writes.put_record, unanswered=True),
        },
        "/records": {
            "GET": Entry(Role.READ, RecordList(parts.streams, parts.clock)),
            "POST": Entry(Role.WRITE, writes.post_records, unanswered=True),
        },
        ONE_RECORD: {
            "GET": Entry(Role.READ, OneRecord(store, readers, parts.clock, as_auditor=settings.auditor_status_codes))
        },
    }


def _records(parts: Parts) -> Table:
    history = History(parts.store, parts.readers, parts.clock, parts.settings.limits.body_bytes, _finding(parts))
    by_outcome = RecordsByOutcome(_disputes(parts), parts.letterbox, parts.settings, parts.meter)
    return {
        "/v2/records": {
            "GET": Entry(Role.READ, Listings(parts.store, parts.readers, parts.streams, parts.clock)),
            "POST": Entry(Role.WRITE, by_outcome),
        },
        "/v2/totals": {"GET": Entry(Role.READ, RecordTotals(parts.store, parts.readers, parts.clock))},
        "/v2/records/{record_id}/versions": {"GET": Entry(Role.READ, history.versions)},
        "/v2/records/{record_id}/corrections": {"POST": Entry(Role.CORRECT, history.correct)},
        "/v2/records/{record_id}/withdrawal": {"POST": Entry(Role.CORRECT, history.withdraw)},
        "/v2/verification": {"GET": Entry(Role.ADMINISTER, history.verified)},
        "/v2/collections": {"POST": Entry(Role.WRITE, _report(parts))},
        "/v2/reconciliation": {
            "GET": Entry(Role.READ, Reconcile(parts.store, parts.publications, parts.readers, parts.clock))
        },
        "/v2/dead-letters": {"GET": Entry(Role.ADMINISTER, DeadLetters(parts.store, parts.readers))},
    }


def _report(parts: Parts) -> ReportOfCollector:
    return ReportOfCollector(parts.store, parts.readers, parts.clock, parts.settings.limits.body_bytes)


def _samples(parts: Parts) -> Table:
    store, rules, readers = parts.samples, parts.settings.join.rules, parts.readers
    if store is None:
        none = NoSamples()
        return {
            "/v2/samples": {"GET": Entry(Role.READ, none), "POST": Entry(Role.WRITE_DOCUMENTS, none)},
            "/v2/samples/tail": {"GET": Entry(Role.READ, none)},
        }
    return {
        "/v2/samples": {
            "GET": Entry(Role.READ, SampleList(store, parts.store, rules, readers)),
            "POST": Entry(Role.WRITE_DOCUMENTS, SamplesIn(store, readers, parts.settings.limits)),
        },
        "/v2/samples/tail": {"GET": Entry(Role.READ, SampleTails(store, parts.store, rules, readers))},
    }


def _summaries(parts: Parts) -> Table:
    if (kept := parts.summaries) is None:
        return {}
    rules, readers = parts.settings.join.rules, parts.readers
    heard = None if parts.joiner is None else parts.joiner.summaries
    return {
        "/v2/summaries": {
            "GET": Entry(Role.READ, SummariesOut(kept, parts.store, readers, rules)),
            "POST": Entry(Role.WRITE_DOCUMENTS, SummariesIn(kept, readers, parts.settings.limits, rules, heard)),
        },
    }


def _conflicts(parts: Parts) -> Table:
    if (kept := parts.conflicts) is None:
        return {}
    endpoints = Conflicts(kept, parts.store, parts.readers, parts.clock, _finding(parts))
    return {
        "/v2/conflicts": {"GET": Entry(Role.CORRECT, endpoints.found)},
        ONE_CONFLICT: {"POST": Entry(Role.CORRECT, endpoints.decide)},
    }


def _publications(parts: Parts) -> Table:
    if (kept := parts.publications) is None:
        return {}
    return {
        "/v2/publications": {
            "GET": Entry(Role.READ, PublicationsOut(kept, parts.readers, parts.clock)),
            "POST": Entry(Role.REPORT, PublicationsIn(kept, parts.readers, parts.settings.limits)),
        },
    }


def _state(parts: Parts) -> Table:
    health = Entry(Need.NOTHING, HealthCheck(parts.store, parts.readers))
    return {
        "/health_check": {"GET": health, "HEAD": health},
        "/metrics": {"GET": Entry(Role.MONITOR, Metrics(parts.meter, parts.readers))},
        "/openapi.json": {"GET": Entry(Need.A_NAME, Fixed(description()))},
    }
