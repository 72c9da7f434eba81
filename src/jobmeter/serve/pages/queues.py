"""`/queues`: queues, waits, sessions and notebooks, now and over time, as facility documents tell."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import urlencode

from msgspec import Struct

from jobmeter.model.access import Asker
from jobmeter.model.facility import Session, Span
from jobmeter.query.facility import sessions, waits
from jobmeter.serve.documents import clusters_of
from jobmeter.serve.facility import QueuePoint, queue_points
from jobmeter.serve.web.figures import iso
from jobmeter.serve.web.page import Page, Values, Visit
from jobmeter.serve.web.present import people_now, queues_now

SPANS = {"6h": (6, 300), "24h": (24, 900), "7d": (168, 3600), "30d": (720, 14_400)}
"""What may be looked at: hours, and the seconds of a step of the curves."""
SESSIONS_SHOWN = 50
TABLE_ROWS = 24


class Depth(Struct, frozen=True):
    """A queue over time: where its numbers are asked for, and some of them as a table, the newest first."""

    cluster: str
    queue: str
    query: str
    points: list[QueuePoint]


def show(visit: Visit) -> Values:
    """What the visitor's clusters tell."""
    chosen = visit.given.choice("span", ("24h", *(name for name in SPANS if name != "24h")))
    visit.given.require_known()
    hours, step = SPANS[chosen]
    span = Span(visit.now - timedelta(hours=hours), visit.now)
    seen = _sessions(visit, chosen, span)
    people = people_now(visit)
    return {
        "now": visit.now,
        "span": chosen,
        "spans": list(SPANS),
        "queues": queues_now(visit),
        "depths": _depths(visit, chosen, span, step),
        "waits": _waits(visit, chosen, span),
        "sessions": seen[-SESSIONS_SHOWN:][::-1],
        "session_count": len(seen),
        "logged_in": [one for one in people if one.kind == "ssh"],
        "notebooks": [one for one in people if one.kind != "ssh"],
        "query": urlencode({"since": iso(span.start)}),
    }


def _depths(visit: Visit, chosen: str, span: Span, step: int) -> list[Depth]:
    documents, clusters = visit.stores.documents, clusters_of(visit.asker)
    if documents is None:
        return []
    seconds = max(step, int((span.stop - span.start).total_seconds()) // TABLE_ROWS)
    points = visit.kept.ask(
        ("depths", chosen, clusters),
        30.0,
        lambda: queue_points(documents.series(clusters, None, "condorqueue", span), seconds),
    )
    by_queue: dict[tuple[str, str], list[QueuePoint]] = {}
    for point in points:
        by_queue.setdefault((point.cluster, point.queue), []).append(point)
    return [
        Depth(cluster, queue, _query(cluster, queue, span, step), found[::-1])
        for (cluster, queue), found in sorted(by_queue.items())
    ]


def _query(cluster: str, queue: str, span: Span, step: int) -> str:
    return urlencode({"cluster": cluster, "queue": queue, "since": iso(span.start), "step_seconds": step})


def _waits(visit: Visit, chosen: str, span: Span) -> object:
    documents, clusters = visit.stores.documents, clusters_of(visit.asker)
    if documents is None:
        return None
    found = visit.kept.ask(
        ("waits", chosen, clusters), 30.0, lambda: waits(documents.sights(clusters, None, _at_most_a_month(span)))
    )
    return found if found.jobs or found.still_waiting else None


def _sessions(visit: Visit, chosen: str, span: Span) -> list[Session]:
    documents, clusters = visit.stores.documents, clusters_of(visit.asker)
    if documents is None:
        return []
    return visit.kept.ask(
        ("sessions", chosen, clusters),
        30.0,
        lambda: sessions(documents.seen(clusters, None, _at_most_a_month(span))),
    )


def _at_most_a_month(span: Span) -> Span:
    return Span(max(span.start, span.stop - timedelta(days=31)), span.stop)


def sees(asker: Asker) -> bool:
    """Those who may read documents of some cluster."""
    return clusters_of(asker) != frozenset()


PAGE = Page("/queues", "Queues and sessions", "queues.html", show, sees=sees, place=60)
