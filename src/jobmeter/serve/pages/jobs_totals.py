"""`/jobs/totals`: what the selected jobs used together. The page of jobs takes its figures from here, at the end."""

from __future__ import annotations

from urllib.parse import urlencode

from jobmeter.serve.view.selection import selection_of
from jobmeter.serve.view.sums import ASKED, Sums, sums_of
from jobmeter.serve.web.account import filters_of, summed
from jobmeter.serve.web.page import Page, Values, Visit

KEPT_SECONDS = 15.0


def show(visit: Visit) -> Values:
    """The sums of a selection."""
    selection = selection_of(visit.given, visit.now)
    visit.given.require_known()
    filters = filters_of(visit, selection)
    asked = "&".join(part for part in (ASKED, filters) if part)
    groups = summed(visit, asked, KEPT_SECONDS)
    return {
        "selection": selection,
        "sums": sums_of(groups[0][1]) if groups else Sums(),
        "question": asked,
        "back": urlencode(selection.fields()),
    }


PAGE = Page("/jobs/totals", "Sum of jobs", "jobs_totals.html", show, under="/jobs")
