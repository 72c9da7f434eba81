"""`/reports`: what was published to whom, beside what the account holds; gaps; dead letters, and trying them again."""

from __future__ import annotations

from collections.abc import Mapping

from jobmeter.model.access import Role
from jobmeter.serve.parameters import BadParameter
from jobmeter.serve.publications import sees
from jobmeter.serve.view.published import letters_of, standings, try_again
from jobmeter.serve.view.usage import keys_text, months_of
from jobmeter.serve.web.account import summed
from jobmeter.serve.web.page import NotThere, Page, Values, Visit

TOLD_MAX = 5000
LINES_MAX = 100
LETTERS_MAX = 50
KEPT_SECONDS = 30.0


def show(visit: Visit) -> Values:
    """The months, the newest messages, and for administrators the dead letters."""
    months = months_of(visit.given, visit.now)
    kept, refused = visit.given.text("stored"), visit.given.text("refused")
    visit.given.require_known()
    told, stores = [], visit.stores
    if stores.publications is not None:
        found = stores.publications.between(str(months.first), str(months.last), TOLD_MAX)
        told = [one for one in found if sees(visit.asker, one)]
    groups = summed(visit, f"group_by={keys_text('site')},month&{months.filters}", KEPT_SECONDS)
    jobs: dict[tuple[str, str], int] = {}
    for key, values in groups:
        site = next((str(part) for part in key[:2] if part is not None), "")
        jobs[str(key[-1]), site] = jobs.get((str(key[-1]), site), 0) + int(values[0] or 0)
    administers = visit.asker.may(Role.ADMINISTER)
    letters = letters_of(stores.records.letters(LETTERS_MAX), stores.records, visit.asker) if administers else None
    return {
        "months": months,
        "standings": standings(jobs.items(), told),
        "told": told[:LINES_MAX],
        "more": max(0, len(told) - LINES_MAX),
        "letters": letters,
        "tried": None if kept is None else (kept, refused),
    }


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
