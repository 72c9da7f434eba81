"""`/reports`: what was published to whom, beside what the account holds; gaps; dead letters, and trying them again."""

from __future__ import annotations

from collections.abc import Mapping

from jobmeter.model.access import Role
from jobmeter.model.period import Period
from jobmeter.report.standing import Collected, Stored, collected, standings, stored_jobs, stored_of
from jobmeter.serve.parameters import BadParameter
from jobmeter.serve.publications import sees
from jobmeter.serve.view.letters import letters_of, try_again
from jobmeter.serve.view.usage import Months, months_of
from jobmeter.serve.web.page import NotThere, Page, Values, Visit

TOLD_MAX = 5000
LINES_MAX = 100
LETTERS_MAX = 50
KEPT_SECONDS = 30.0


def show(visit: Visit) -> Values:
    """The months, the newest messages, and for administrators the dead letters."""
    months = months_of(visit.given, visit.now)
    kept, refused = _count(visit, "stored"), _count(visit, "refused")
    visit.given.require_known()
    told, stores = [], visit.stores
    if stores.publications is not None:
        found = stores.publications.between(str(months.first), str(months.last), TOLD_MAX)
        told = [one for one in found if sees(visit.asker, one)]
    administers = visit.asker.may(Role.ADMINISTER)
    letters = letters_of(stores.records.letters(LETTERS_MAX), stores.records, visit.asker) if administers else None
    return {
        "months": months,
        "collected": None if visit.asker.scope.any_of is not None else _collected(visit, months),
        "standings": standings(_stored(visit, months), told),
        "told": told[:LINES_MAX],
        "more": max(0, len(told) - LINES_MAX),
        "letters": letters,
        "tried": None if kept is None else (kept, refused),
    }


def _count(visit: Visit, name: str) -> int | None:
    """A number in the address, which the form's answer has put there; whatever else somebody wrote there is nothing."""
    text = visit.given.text(name) or ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _stored(visit: Visit, months: Months) -> Stored:
    question = stored_jobs(Period(months.first.period.start, months.last.period.stop), visit.asker.scope)
    records = visit.stores.records
    return visit.kept.ask(("stored", question), KEPT_SECONDS, lambda: stored_of(records.totals(question)))


def _collected(visit: Visit, months: Months) -> list[Collected]:
    """What collectors told of these months, as it stands in their reports."""
    since, until = months.first.period.start.date(), months.last.period.stop.date()
    return collected(visit.stores.records.ledger.reconciled(since, until, look_up=False))


def act(visit: Visit, fields: Mapping[str, str]) -> str:
    """Try a dead letter again. Raises NotThere for one that is not there, or not there any more."""
    if not visit.asker.may(Role.ADMINISTER):
        raise BadParameter("letter", "is for administrators")
    number = fields.get("letter", "")
    letters = {str(letter.number): letter for letter in visit.stores.records.letters(10_000)}
    if number not in letters:
        raise NotThere("There is no such dead letter any more.")
    stored, refused = try_again(letters[number], visit.stores.records, visit.asker)
    return f"/reports?stored={stored}&refused={refused}"


PAGE = Page("/reports", "Reports", "reports.html", show, place=70, act=act)
