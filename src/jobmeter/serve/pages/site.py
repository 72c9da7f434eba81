"""`/sites/{site}`: what one site used, month by month."""

from __future__ import annotations

from jobmeter.serve.web.one_of import shown
from jobmeter.serve.web.page import Page, Values, Visit


def show(visit: Visit) -> Values:
    """The site."""
    return shown(visit, "site")


PAGE = Page("/sites/{site}", "Site", "one_of.html", show, under="/users")
