"""`/docs`: the contents of the documentation, and where words stand in it."""

from __future__ import annotations

from jobmeter.serve.view import manual
from jobmeter.serve.web.page import Page, Values, Visit, anyone


def show(visit: Visit) -> Values:
    """The contents, or what was found."""
    words = visit.given.text("q", manual.WORDS_MAX)
    visit.given.require_known()
    return {
        "words": words,
        "found": [] if words is None else manual.found(words),
        "leaf": manual.shown(visit, "", f"{manual.FOLDER}/"),
    }


PAGE = Page("/docs", "Docs", "docs.html", show, sees=anyone, place=200)
