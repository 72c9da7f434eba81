"""`/nodes`: the nodes whose agents sample them, and the hosts that facility documents tell of."""

from __future__ import annotations

from jobmeter.serve.web.page import Page, Values, Visit
from jobmeter.serve.web.present import hosts_now, nodes_now, sees_nodes


def show(visit: Visit) -> Values:
    """All of them, as they were seen last."""
    visit.given.require_known()
    return {
        "now": visit.now,
        "sees_nodes": sees_nodes(visit),
        "has_samples": visit.stores.samples is not None,
        "nodes": nodes_now(visit),
        "hosts": hosts_now(visit).hosts,
    }


PAGE = Page("/nodes", "Nodes", "nodes.html", show, place=40)
