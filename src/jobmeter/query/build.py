"""From a question to the query string that asks it: the inverse of parsing, as AUDITOR's newest clients write it."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote_plus

from msgspec.structs import replace

from jobmeter.model.question import Bound, Order, Question
from jobmeter.model.record import from_microseconds
from jobmeter.model.total import TotalQuestion
from jobmeter.query.total_text import asked_for


def query_string(question: Question) -> str:
    """The query string (without `?`) of `question`; what the asker may see is no part of it.

    Raises ValueError when two bounds of one field share an operator, which the language cannot say.
    """
    return "&".join(f"{key}={quote_plus(value)}" for key, value in _pairs(question))


def total_query_string(question: TotalQuestion) -> str:
    """The same for a question for totals; the order and the limit of its records are no part of it."""
    told = [f"{key}={quote_plus(value)}" for key, value in asked_for(question)]
    filters = query_string(replace(question.where, order=Order(), limit=None))
    return "&".join([*told, *([filters] if filters else [])])


def _pairs(question: Question) -> Iterator[tuple[str, str]]:
    if question.record_id is not None:
        yield "record_id", question.record_id
    if question.as_of_us is not None:
        yield "as_of", from_microseconds(question.as_of_us).isoformat()
    for field, bounds in (("start_time", question.start_time), ("stop_time", question.stop_time)):
        for operator, value in _bounds(bounds):
            yield f"{field}{operator}", from_microseconds(value).isoformat()
    for operator, value in _bounds(question.runtime):
        yield f"runtime{operator}", str(value)
    yield from _named(question)
    if question.order != Order():
        direction = "desc" if question.order.descending else "asc"
        yield f"sort_by[{direction}]", question.order.column.value
    if question.limit is not None:
        yield "limit", str(question.limit)


def _named(question: Question) -> Iterator[tuple[str, str]]:
    for condition in question.meta:
        for operator, values in (("c", condition.contains), ("dnc", condition.lacks)):
            for index, name in enumerate(values):
                yield f"meta[{quote_plus(condition.key)}][{operator}][{index}]", name
    for component in question.components:
        for operator, value in _bounds(component.bounds):
            yield f"component[{quote_plus(component.name)}]{operator}", str(value)
    for score in question.scores:
        for bound in score.bounds:
            yield f"score[{quote_plus(score.name)}][{bound.op.value}]", repr(bound.value)


def _bounds(bounds: tuple[Bound, ...]) -> Iterator[tuple[str, int]]:
    if len({bound.op for bound in bounds}) != len(bounds):
        raise ValueError("two bounds of one field share an operator")
    for bound in bounds:
        yield f"[{bound.op.value}]", bound.value
