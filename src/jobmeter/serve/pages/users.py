"""`/users`: what users, groups and sites used: core-hours, jobs, efficiency and energy."""

from __future__ import annotations

from jobmeter.serve.view.selection import FACETS
from jobmeter.serve.view.sums import ASKED
from jobmeter.serve.view.usage import (
    ORDERS,
    ROWS_MAX,
    bars,
    by_month,
    by_name,
    in_order,
    keys_text,
    months_of,
    together,
)
from jobmeter.serve.web.account import is_new, summed
from jobmeter.serve.web.page import Page, Values, Visit

KEPT_SECONDS = 30.0


def show(visit: Visit) -> Values:
    """All of one kind in some months, and the months."""
    given = visit.given
    kind = given.choice("by", tuple(FACETS))
    order = given.choice("order", ORDERS)
    months = months_of(given, visit.now)
    given.require_known()
    asked = f"{ASKED}&group_by={keys_text(kind)}&{months.filters}"
    found = in_order(by_name(summed(visit, asked, KEPT_SECONDS)), order)
    by_months = by_month(summed(visit, f"{ASKED}&group_by=month&{months.filters}", KEPT_SECONDS), months)
    return {
        "kind": kind,
        "kinds": tuple(FACETS),
        "order": order,
        "months": months,
        "rows": found[:ROWS_MAX],
        "left": max(0, len(found) - ROWS_MAX),
        "bars": bars(found),
        "by_months": by_months,
        "month_bars": bars(by_months),
        "whole": together(by_months),
        "is_new": not found and is_new(visit),
        "question": asked,
        "question_months": f"{ASKED}&group_by={keys_text(kind)},month&{months.filters}",
    }


PAGE = Page("/users", "Users and groups", "users.html", show, place=50)
