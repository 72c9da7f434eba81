"""`/`: what is going on at this moment."""

from __future__ import annotations

from jobmeter.model.access import Role
from jobmeter.serve.web.page import Page, Values, Visit, anyone

COUNTED_SECONDS = 10.0
"""How old the number of all records may be: a large database takes a second for it."""


def show(visit: Visit) -> Values:
    """The number of records."""
    visit.given.require_known()
    count = None
    if visit.asker.may_everywhere(Role.READ):
        count = visit.kept.ask("records", COUNTED_SECONDS, lambda: visit.stores.records.counts().get("", 0))
    return {"count": count}


PAGE = Page("/", "Now", "now.html", show, sees=anyone, place=10)
