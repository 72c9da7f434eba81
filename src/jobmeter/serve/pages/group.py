"""`/groups/{group}`: what one group used, month by month."""

from __future__ import annotations

from jobmeter.serve.web.one_of import shown
from jobmeter.serve.web.page import Page, Values, Visit


def show(visit: Visit) -> Values:
    """The group."""
    return shown(visit, "group")


PAGE = Page("/groups/{group}", "Group", "one_of.html", show, under="/users")
