"""The page of one user, group or site: its months, and whom it worked with."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote_plus

from jobmeter.serve.view.selection import FACETS
from jobmeter.serve.view.sums import ASKED, Values
from jobmeter.serve.view.usage import bars, by_month, by_name, in_order, keys_text, months_of, together, whose
from jobmeter.serve.web.account import keys_with, summed
from jobmeter.serve.web.page import NotThere, Visit
from jobmeter.serve.web.page import Values as Shown

KEPT_SECONDS = 30.0
BESIDE_MAX = 20

Found = list[tuple[Sequence[str | int | None], Values]]


def shown(visit: Visit, kind: str) -> Shown:
    """The values of the page. Raises NotThere for a name that has no job in these months which the asker may see."""
    months = months_of(visit.given, visit.now)
    visit.given.require_known()
    name = visit.named
    by_months = by_month(_groups(visit, kind, name, months.filters, "month"), months)
    whole = together(by_months)
    if not whole.jobs:
        raise NotThere(f"There is no job of this {kind} in these months that you may see.")
    beside = {
        other: in_order(by_name(_without(_groups(visit, kind, name, months.filters, keys_text(other)))), "core_hours")
        for other in FACETS
        if other != kind
    }
    return {
        "title": name,
        "kind": kind,
        "name": name,
        "months": months,
        "rows": by_months,
        "bars": bars(by_months),
        "whole": whole,
        "beside": {other: found[:BESIDE_MAX] for other, found in beside.items() if found},
        "question": f"{ASKED}&group_by=month&{_filter(FACETS[kind][0], name)}&{months.filters}",
    }


def _groups(visit: Visit, kind: str, name: str, filters: str, by: str) -> Found:
    """The groups of the name under either of its keys, with both keys before `by`."""
    newer, older = FACETS[kind]
    there = keys_with(visit, kind, name)
    found = [
        summed(visit, f"{ASKED}&group_by={newer},{older},{by}&{_filter(key, name)}&{filters}", KEPT_SECONDS)
        if key in there
        else []
        for key in (newer, older)
    ]
    return whose(name, *found)


def _without(groups: Found) -> Found:
    """The groups without the two keys of the page's own kind."""
    return [(key[2:], values) for key, values in groups]


def _filter(key: str, name: str) -> str:
    return f"meta[{key}][c][0]={quote_plus(name)}"
