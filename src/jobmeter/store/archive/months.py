"""In which months a question about sites, groups and users can have an answer, as the rollups know.

They know archived records, too. What is not of a facet is left out of the question: there may be months too many, and
never one too few.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace
from sqlalchemy import select

from jobmeter.model.question import MetaCondition, Question, Rule, Scope
from jobmeter.store.archive.ledger import ArchiveFile, Execute
from jobmeter.store.facet import FACET_OF_KEY, SITE
from jobmeter.store.probe import SqliteProbe
from jobmeter.store.rollup import BY_SITE, FINE
from jobmeter.store.statement import View, conditions
from jobmeter.store.tables import records, rollups


def in_its_months(execute: Execute, files: list[ArchiveFile], question: Question) -> list[ArchiveFile]:
    """Those of `files` in whose months somebody that the question is about has records."""
    asked = _of_facets(question)
    keys = {one.key for one in _rules(asked)}
    if not files or not keys:
        return files
    level = BY_SITE if keys <= set(SITE.keys) else FINE
    # No condition is left that looks into bodies.
    view = View(rollups, SqliteProbe(records), lambda numbers: [number for (number,) in execute(numbers)])
    months = select(rollups.c.month).where(rollups.c.level == level, *conditions(asked, view)).distinct()
    found = {f"{month // 12:04d}-{month % 12 + 1:02d}" for (month,) in execute(months)}
    return [file for file in files if file.month in found]


def _of_facets(question: Question) -> Question:
    """The part of the question that the rollups know of."""
    scope = question.scope
    if scope.any_of is not None:
        scope = replace(scope, any_of=tuple(tuple(filter(_is_of_facet, group)) for group in scope.any_of))
        if not all(scope.any_of or ()):
            scope = Scope.everything()  # there is a group that allows others, too
    return Question(scope, meta=tuple(filter(_is_of_facet, question.meta)))


def _rules(question: Question) -> Iterable[MetaCondition | Rule]:
    yield from question.meta
    for group in question.scope.any_of or ():
        yield from group


def _is_of_facet(one: MetaCondition | Rule) -> bool:
    return one.key in FACET_OF_KEY
