"""Questions of pages to the record store, asked through the filter language so that links ask the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from msgspec.structs import replace

from jobmeter.model.question import Scope
from jobmeter.model.record import microseconds
from jobmeter.model.total import TooManyGroups, Total, TotalQuestion
from jobmeter.query.fault import BadQuery
from jobmeter.query.listing import Listing, parse_listing
from jobmeter.query.totals import parse_totals
from jobmeter.report.month import Month
from jobmeter.serve.parameters import BadParameter
from jobmeter.serve.view.search import holds, keys_of
from jobmeter.serve.view.selection import FACETS, Selection
from jobmeter.serve.view.stretch import Span
from jobmeter.serve.web.page import Visit

T = TypeVar("T")

KEYS_SECONDS = 60.0
"""How long it is believed which meta keys a name stands under."""
_YEAR_US = 365 * 86_400_000_000


def listing_of(query: str, scope: Scope) -> Listing:
    """The question for records. Raises BadParameter."""
    return _told(lambda: parse_listing(query, scope))


def totals_of(query: str, scope: Scope) -> TotalQuestion:
    """The question for totals. Raises BadParameter."""
    return _told(lambda: parse_totals(query, scope))


def summed(
    visit: Visit, query: str, seconds: float
) -> list[tuple[tuple[str | int | None, ...], tuple[float | None, ...]]]:
    """The groups that answer a question for totals: key and values. At most so old. Raises BadParameter."""
    scope = visit.asker.scope

    def ask() -> list[tuple[tuple[str | int | None, ...], tuple[float | None, ...]]]:
        totals = visit.stores.records.totals(totals_of(query, scope))
        return [
            (each.key, tuple(None if one.value is None else float(one.value) for one in each.measured))
            for each in totals
        ]

    return _told(lambda: visit.kept.ask(("totals", scope, query), seconds, ask))


def is_new(visit: Visit) -> bool:
    """Whether there is no record at all that the asker may see."""
    return not any(values[0] for _, values in summed(visit, "sum=count", KEYS_SECONDS))


def jobs_by_month(visit: Visit) -> list[Span]:
    """About how many jobs ended in each month, the oldest first.

    The asker's own are counted, and taken to be spread over time as all are, among which they must be looked for.
    """
    scope, records = visit.asker.scope, visit.stores.records

    def ask() -> list[Span]:
        spans = list(_spans(records.totals(totals_of("sum=count&group_by=month", scope)), microseconds(visit.now)))
        own, everyones = sum(one.jobs for one in spans), records.counts()[""]
        if not own:
            year_us = microseconds(visit.now) - _YEAR_US
            return [Span(year_us, microseconds(visit.now), everyones)]
        share = 1 if scope.any_of is None else max(1, everyones // own)
        return sorted((replace(one, jobs=one.jobs * share) for one in spans), key=lambda one: one.begin)

    return visit.kept.ask(("jobs by month", scope), KEYS_SECONDS, ask)


def _spans(counted: Iterable[Total], now_us: int) -> Iterator[Span]:
    """Of the month that is not over the part that is."""
    for total in counted:
        if total.key[0] is not None:
            period = Month.parse(str(total.key[0])).period
            begin, end = microseconds(period.start), microseconds(period.stop)
            yield Span(begin, now_us if begin < now_us < end else end, int(total.measured[0].value or 0))


def filters_of(visit: Visit, selection: Selection) -> str:
    """The selection in the filter language, with the meta keys that the records have."""
    return selection.filters(_keys(visit, selection.facets))


def keys_with(visit: Visit, kind: str, name: str) -> tuple[str, ...]:
    """Of the two meta keys of a kind those under which records have the name."""
    scope, records = visit.asker.scope, visit.stores.records

    def ask() -> tuple[str, ...]:
        return tuple(key for key in FACETS[kind] if holds(records, scope, key, name))

    return visit.kept.ask(("keys with", scope, kind, name), KEYS_SECONDS, ask)


def _keys(visit: Visit, facets: Mapping[str, str]) -> Mapping[str, str]:
    if not facets:
        return {}
    scope, records = visit.asker.scope, visit.stores.records
    key = ("keys", scope, tuple(facets.items()))
    return visit.kept.ask(key, KEYS_SECONDS, lambda: keys_of(records, scope, facets))


def _told(ask: Callable[[], T]) -> T:
    try:
        return ask()
    except BadQuery as fault:
        raise BadParameter(fault.key or "the filter", fault.reason or str(fault)) from None
    except TooManyGroups as fault:
        raise BadParameter("the period", str(fault)) from None
