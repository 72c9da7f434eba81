"""`/users/{user}`: what one user used, month by month."""

from __future__ import annotations

from jobmeter.serve.web.one_of import shown
from jobmeter.serve.web.page import Page, Values, Visit


def show(visit: Visit) -> Values:
    """The user."""
    return shown(visit, "user")


PAGE = Page("/users/{user}", "User", "one_of.html", show, under="/users")
