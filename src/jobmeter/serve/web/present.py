"""What there is at this moment, by samples and documents, within what the visitor may see; kept for some seconds."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct

from jobmeter.model.access import Role
from jobmeter.model.facility import Received
from jobmeter.model.record import microseconds
from jobmeter.model.series import SampleQuestion, SampleTable
from jobmeter.query.nodes import STATE_METRICS, NodeState, node_states
from jobmeter.serve.documents import clusters_of
from jobmeter.serve.facility import HOST_KINDS, NEWEST, Hosts, hosts_of
from jobmeter.serve.web.page import Visit

LATELY = timedelta(minutes=5)
"""A node that told nothing for longer has not been seen now."""

_SOON = 4.0
_PEOPLE_KINDS = ("ssh", "jupyter-ml", "jupyter-coffea")

_fields = msgspec.json.Decoder(dict[str, Any]).decode


class QueueNow(Struct, frozen=True):
    """A queue as its newest document tells."""

    cluster: str
    queue: str
    observed: datetime
    idle: int | None
    running: int | None
    held: int | None
    cores: int | None


class People(Struct, frozen=True):
    """Who is at a place: a host, or the notebooks of a kind (then `node` is None)."""

    kind: str
    cluster: str
    node: str | None
    observed: datetime
    users: tuple[str, ...]


def sees_nodes(visit: Visit) -> bool:
    """Whether the visitor may see samples of nodes: they belong to no site."""
    return visit.asker.may_everywhere(Role.READ)


def lately(visit: Visit, metrics: tuple[str, ...], node: str | None = None) -> list[SampleTable]:
    """Plain samples of the last minutes. None are there for those who may not see nodes."""
    samples = visit.stores.samples
    if samples is None or not sees_nodes(visit):
        return []
    from_ns = microseconds(visit.now - LATELY) * 1000

    def asked() -> list[SampleTable]:
        return list(samples.tables(SampleQuestion(metrics=metrics, node=node, from_ns=from_ns)))

    return visit.kept.ask(("lately", metrics, node), _SOON, asked)


def nodes_now(visit: Visit) -> list[NodeState]:
    """The nodes whose agents told something in the last minutes."""
    return node_states(lately(visit, STATE_METRICS))


def newest(visit: Visit, kinds: tuple[str, ...]) -> list[Received]:
    """The newest documents of these kinds that the visitor may see."""
    documents = visit.stores.documents
    clusters = clusters_of(visit.asker)
    if documents is None or clusters == frozenset():
        return []
    since = visit.now - NEWEST
    return visit.kept.ask(("newest", kinds, clusters), _SOON, lambda: documents.newest(clusters, None, kinds, since))


def queues_now(visit: Visit) -> list[QueueNow]:
    """The queues that were told of within half an hour."""
    found = []
    for document in newest(visit, ("condorqueue",)):
        told = _fields(document.body)
        states = (told.get("idle"), told.get("running"), told.get("held"), told.get("allocated_cores"))
        found.append(QueueNow(document.cluster, document.subject or "", document.observed, *states))
    return sorted(found, key=lambda queue: (queue.cluster, queue.queue))


def people_now(visit: Visit) -> list[People]:
    """Who is logged in or has a notebook, as told last."""
    return [
        People(one.kind, one.cluster, one.node, one.observed, tuple(map(str, _fields(one.body).get("users") or ())))
        for one in newest(visit, _PEOPLE_KINDS)
    ]


def hosts_now(visit: Visit) -> Hosts:
    """The hosts that facility documents tell of."""
    return hosts_of(newest(visit, HOST_KINDS))
