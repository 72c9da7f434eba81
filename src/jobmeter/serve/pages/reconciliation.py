"""`/reconciliation`: whether all that collectors saw is stored, by source and day. `/health` shows its gaps."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from urllib.parse import urlencode

from jobmeter.model.access import Asker, Role
from jobmeter.model.collection import Reconciled
from jobmeter.serve.web.page import Page, Values, Visit

DAYS_DEFAULT = 7
DAYS_MAX = 400
LINES_MAX = 1000
GAPS_MAX = 20
KEPT_SECONDS = 60.0


def show(visit: Visit) -> Values:
    """The days, the newest first, and those that have a gap."""
    since, last = visit.given.days(DAYS_DEFAULT, DAYS_MAX)
    visit.given.require_known()
    lines = _lines(visit, since, last + timedelta(days=1))
    gaps = [line for line in lines if line.gap]
    return {
        "since": since,
        "last": last,
        "until": last + timedelta(days=1),
        "lines": lines[:LINES_MAX],
        "left": max(0, len(lines) - LINES_MAX),
        "gaps": gaps[:GAPS_MAX],
        "gap_count": len(gaps),
        "asked": urlencode({"since": since.isoformat(), "until": (last + timedelta(days=1)).isoformat()}),
    }


def _lines(visit: Visit, since: date, until: date) -> Sequence[Reconciled]:
    ledger = visit.stores.records.ledger
    found = visit.kept.ask(("reconciled", since, until), KEPT_SECONDS, lambda: ledger.reconciled(since, until))
    return sorted(found, key=lambda line: (-line.counts.day.toordinal(), line.source))


def sees(asker: Asker) -> bool:
    """Readers of all records, as it is about all of them."""
    return asker.may(Role.READ) and asker.scope.any_of is None


PAGE = Page("/reconciliation", "Seen and stored", "reconciliation.html", show, sees=sees, under="/health")
