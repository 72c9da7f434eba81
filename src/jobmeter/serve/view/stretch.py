"""Which stretch of time a page of jobs looks at, so that it comes soon however many jobs there are.

An index gives jobs in the order in which they ended. Whatever else is asked of them is found by looking at each. So one
page looks at so many jobs at most, and says from when to when they ended. How many there are is told by the counts of
whole months; within a month they are taken to be spread evenly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from msgspec import Struct
from msgspec.structs import replace

from jobmeter.model.question import Bound, Column, Op, Order, Page, Position, Question
from jobmeter.serve.view.selection import FACETS

LOOKED_MAX = 1_000_000
"""So many jobs are looked at where an index holds all that is asked of them."""
OPENED_MAX = 50_000
"""So many whose records must be opened."""

_HOUR_US = 3_600_000_000
_BEHIND_ALL = 2**63 - 1
_NEWEST_ENDED = Position(2**63 - 1, 0)
"""Before all that have ended, the newest first."""
_KEYS = frozenset(key for keys in FACETS.values() for key in keys)

Ask = Callable[[Question], Page]


class Span(Struct, frozen=True):
    """How many jobs ended from `begin` to before `end`, in microseconds since 1970."""

    begin: int
    end: int
    jobs: int


def jobs_max(question: Question) -> int | None:
    """How many jobs may be looked at for a page of the answer; None where an index leads straight to it."""
    column, plain = question.order.column, question.scope.any_of is None and question == _plain(question)
    if question.record_id is not None or (plain and column is Column.STOP_TIME):
        return None
    if column is Column.RECORD_ID:
        return None if plain and not question.stop_time else OPENED_MAX
    return OPENED_MAX if _opens(question) else LOOKED_MAX


def edge_of(question: Question, spans: Sequence[Span], jobs: int) -> int | None:
    """How far so many jobs reach, in microseconds since 1970; None: to the end of what is asked for.

    They are the newest, and the oldest where those that ended first come first. `spans` are the oldest first.
    """
    low, high = _ends(question)
    place = question.after.value if question.after is not None else None
    if not question.order.descending and question.order.column is Column.STOP_TIME:
        return _reach(spans, place if isinstance(place, int) else low, high, jobs)
    if isinstance(place, int) and question.order.column is Column.STOP_TIME:
        high = place
    mirrored = [Span(-one.end, -one.begin, one.jobs) for one in reversed(spans)]
    edge = _reach(mirrored, None if high is None else -high, None if low is None else -low, jobs)
    return None if edge is None else -edge


def hour_from(edge: int, question: Question) -> int:
    """The first whole hour from `edge` on, as far as that leaves anything."""
    hour = -(-edge // _HOUR_US) * _HOUR_US
    _, high = _ends(question)
    return edge if high is not None and hour >= high else hour


class Looked(Struct, frozen=True):
    """A page, and how far was looked where that is why it ends."""

    page: Page
    edge: int | None = None


def page_until(ask: Ask, question: Question, edge: int) -> Looked:
    """The page of a question in the order of the end, as far as `edge`; the next one begins there."""
    newest, after = question.order.descending, question.after
    running: list[bytes] = []
    if newest and not question.stop_time and (after is None or after.value is None):
        # Jobs that have not ended come first; in the other order they are what is behind all that have.
        place = Position(None, -1 if after is None else after.seq)
        page = ask(replace(question, order=Order(question.order.column), after=place))
        running = page.bodies
        if page.last is not None:
            return Looked(page)
        if len(running) == question.limit:
            return Looked(Page(running, _NEWEST_ENDED))
        question = replace(question, after=None, limit=(question.limit or 0) - len(running))
    bound = Bound(Op.GTE if newest else Op.LT, edge)
    page = ask(replace(question, stop_time=(*question.stop_time, bound)))
    bodies = [*running, *page.bodies]
    if page.last is not None:
        return Looked(Page(bodies, page.last))
    return Looked(Page(bodies, Position(edge, _BEHIND_ALL if newest else 0)), edge)


def _plain(question: Question) -> Question:
    """The same without any condition but those on the end."""
    return Question(
        question.scope,
        record_id=question.record_id,
        stop_time=question.stop_time,
        order=question.order,
        limit=question.limit,
        after=question.after,
        as_of_us=question.as_of_us,
    )


def _opens(question: Question) -> bool:
    keys = [condition.key for condition in question.meta]
    keys += [rule.key for group in question.scope.any_of or () for rule in group]
    return bool(question.components or question.scores) or not _KEYS.issuperset(keys)


def _ends(question: Question) -> tuple[int | None, int | None]:
    """From when to when the jobs ended that are asked for."""
    lows = [bound.value for bound in question.stop_time if bound.op in (Op.GT, Op.GTE, Op.EQUALS)]
    highs = [bound.value for bound in question.stop_time if bound.op in (Op.LT, Op.LTE, Op.EQUALS)]
    return max(lows, default=None), min(highs, default=None)


def _reach(spans: Iterable[Span], low: int | None, high: int | None, jobs: int) -> int | None:
    """Until when so many jobs ended, from `low` on; None where there are no more before `high`."""
    left = float(jobs)
    for begin, end, several in _within(spans, low, high):
        if several > left:
            return begin + round((end - begin) * left / several)
        left -= several
    return None


def _within(spans: Iterable[Span], low: int | None, high: int | None) -> Iterator[tuple[int, int, float]]:
    for one in spans:
        begin = one.begin if low is None else max(one.begin, low)
        end = one.end if high is None else min(one.end, high)
        if begin < end:
            yield begin, end, one.jobs * (end - begin) / (one.end - one.begin)
