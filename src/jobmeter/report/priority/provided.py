"""What each group provided: which totals are asked for, and what the answer says."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from fractions import Fraction

from msgspec import Struct

from jobmeter.model.question import Bound, Op, Question, Scope
from jobmeter.model.record import EPOCH, microseconds
from jobmeter.model.total import COUNT, Factor, Measure, MetaDimension, Product, Span, Total, TotalQuestion
from jobmeter.report.priority.settings import Settings


class Provided(Struct, frozen=True):
    """Amount times score times seconds of a group; `lacking` jobs have a configured component without its score."""

    resource: Fraction
    jobs: int
    lacking: int


def question(settings: Settings, now: datetime) -> TotalQuestion:
    """The totals by group of the jobs that ended, within `duration` before `now` where that is given."""
    since = EPOCH if settings.duration is None else now - timedelta(seconds=settings.duration)
    where = Question(Scope.everything(), stop_time=(Bound(Op.GTE, microseconds(since)),))
    unscored = (Product((Factor(component),)) for component in settings.components)
    measures = dict.fromkeys((COUNT, *_terms(settings), *unscored))
    return TotalQuestion(where, (MetaDimension(settings.group_meta_key),), tuple(measures))


def provided(settings: Settings, asked: TotalQuestion, totals: Iterable[Total]) -> dict[str, Provided]:
    """What each configured group provided, from the answer to `question`; nothing where it has no jobs."""
    found = dict.fromkeys(settings.group_mapping, Provided(Fraction(0), 0, 0))
    for total in totals:
        group = total.key[0]
        if isinstance(group, str) and group in found:
            found[group] = _of(settings, asked, total)
    return found


def _terms(settings: Settings) -> list[Measure]:
    factors = tuple(Factor(component, (score,)) for component, score in settings.components.items())
    if not factors or settings.combine == "product":
        return [Product(factors, Span.RUNTIME)]
    return [Product((factor,), Span.RUNTIME) for factor in factors]


def _of(settings: Settings, asked: TotalQuestion, total: Total) -> Provided:
    measured = dict(zip(asked.measures, total.measured, strict=True))
    resource = sum((Fraction(measured[term].value or 0) for term in _terms(settings)), Fraction(0))
    scored = min((measured[term].counted for term in _terms(settings)), default=0)
    there = min((measured[Product((Factor(name),))].counted for name in settings.components), default=scored)
    return Provided(resource, int(measured[COUNT].value or 0), max(0, there - scored))
