"""`/docs/{page}`: one page of the documentation."""

from __future__ import annotations

from jobmeter.serve.view import manual
from jobmeter.serve.web.page import NotThere, Page, Values, Visit, anyone


def show(visit: Visit) -> Values:
    """The page, and the contents beside it."""
    visit.given.require_known()
    if not visit.named:
        raise NotThere("There is no such page of the documentation.")
    leaf = manual.shown(visit, visit.named, "")
    return {"title": leaf.title, "leaf": leaf, "name": visit.named, "parts": manual.parts(visit)}


PAGE = Page("/docs/{page}", "Docs", "doc.html", show, sees=anyone, under="/docs")
