"""`/about`: what this server is, and its interface."""

from __future__ import annotations

from jobmeter.model.access import Role
from jobmeter.serve.operations import OPERATIONS
from jobmeter.serve.web.page import Page, Values, Visit, anyone


def show(visit: Visit) -> Values:
    """The table of operations."""
    visit.given.require_known()
    return {"operations": OPERATIONS, "monitors": visit.asker.may(Role.MONITOR)}


PAGE = Page("/about", "About", "about.html", show, sees=anyone)
