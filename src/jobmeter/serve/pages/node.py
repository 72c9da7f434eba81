"""`/nodes/{node}`: one node over time."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import urlencode

from jobmeter.model.record import microseconds
from jobmeter.model.series import SampleQuestion
from jobmeter.query.nodes import STATE_METRICS, node_states
from jobmeter.serve.view.curves import OF_NODES, drawn, metrics_of, step_seconds
from jobmeter.serve.web.page import NotThere, Page, Values, Visit
from jobmeter.serve.web.present import lately, sees_nodes

SPANS = {"1h": 3600, "6h": 6 * 3600, "24h": 86_400, "7d": 7 * 86_400, "30d": 30 * 86_400}
"""What may be looked at, in seconds."""
KEPT_SECONDS = 15.0


def show(visit: Visit) -> Values:
    """The node's state and its curves over the span that is chosen."""
    chosen = visit.given.choice("span", ("24h", *(name for name in SPANS if name != "24h")))
    visit.given.require_known()
    samples = visit.stores.samples
    if samples is None or not sees_nodes(visit):
        raise NotThere("There is no such node.")
    since, step = visit.now - timedelta(seconds=SPANS[chosen]), step_seconds(SPANS[chosen])
    question = SampleQuestion(
        node=visit.named,
        node_only=True,
        metrics=metrics_of(OF_NODES),
        from_ns=microseconds(since) * 1000,
        step_ns=step * 10**9,
    )
    tables = visit.kept.ask(("node", visit.named, chosen), KEPT_SECONDS, lambda: list(samples.tables(question)))
    states = node_states(lately(visit, STATE_METRICS, visit.named))
    if not tables and not states:
        raise NotThere(f"Nothing was told of a node {visit.named!r} in this time.")
    return {
        "title": visit.named,
        "node": visit.named,
        "now": visit.now,
        "state": states[0] if states else None,
        "span": chosen,
        "spans": list(SPANS),
        "pictures": drawn(tables, OF_NODES),
        "samples": urlencode({"node": visit.named, "node_only": "true"}),
        "first": int(since.timestamp()),
        "last": int(visit.now.timestamp()),
        "step": step,
    }


PAGE = Page("/nodes/{node}", "Node", "node.html", show, under="/nodes")
