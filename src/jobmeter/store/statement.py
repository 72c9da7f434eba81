"""A question becomes one SELECT of bodies; SQLAlchemy writes it for either database, the driver runs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Dialect,
    Executable,
    FromClause,
    Select,
    and_,
    false,
    func,
    literal,
    or_,
    select,
    true,
)

from jobmeter.model.question import Column, MetaCondition, Order, Position, Question, Rule, Scope
from jobmeter.store.compare import INT64_MAX, compared
from jobmeter.store.facet import FACET_OF_KEY, term
from jobmeter.store.probe import BodyProbe
from jobmeter.store.row import key_of, storable
from jobmeter.store.tables import facet_terms

NUMBERS_MAX = 64
"""More dictionary numbers than these are not listed in the statement but looked up by it."""

_SORTED = frozenset({Column.START_TIME, Column.RUNTIME})
"""Orders without an index."""
_NEVER_ABSENT = frozenset({Column.START_TIME, Column.RECORD_ID})

Resolve = Callable[[Select[tuple[int]]], list[int]]
"""Runs a SELECT of dictionary numbers now, in the same view of the database as the statement that will use them."""


class View(NamedTuple):
    """What is asked: `rows` have the columns of `records`, `probe` looks into their bodies."""

    rows: FromClause
    probe: BodyProbe
    resolve: Resolve


class Statement(NamedTuple):
    """SQL text of one database, with its values to bind by name."""

    text: str
    values: dict[str, Any]


def compiled(question: Select[Any], dialect: Dialect) -> Statement:
    """The text and the values of `question` for the driver of `dialect`."""
    result = question.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
    return Statement(result.string, dict(result.params))


def written(statement: Executable | str, dialect: Dialect) -> Statement:
    """As `compiled`, of any statement; one that is text already stays as it is."""
    if isinstance(statement, str):
        return Statement(statement, {})
    result = statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})  # type: ignore[attr-defined]
    return Statement(result.string, dict(result.params))


def select_bodies(question: Question, view: View) -> list[Select[tuple[str]]]:
    """The bodies that answer `question`, in its order: the answers of all statements, one after the other.

    Each statement has the question's limit.
    """
    return _selects(question, view, (view.rows.c.body,))


def select_rows(question: Question, view: View) -> list[Select[tuple[Any, int, str]]]:
    """As `select_bodies`, each body behind the two parts of its place in the order."""
    return _selects(question, view, (_column(question.order, view.rows), view.rows.c.seq, view.rows.c.body))


def _selects(question: Question, view: View, columns: tuple[ColumnElement[Any], ...]) -> list[Select[Any]]:
    rows, order = view.rows, _order(question, view.rows)
    is_sorted = question.order.column in _SORTED and question.limit is not None and question.as_of_us is None
    # Sorting without the bodies: SQLite would read each that is among the first for a while.
    statement = select(*((rows.c.seq,) if is_sorted else columns)).where(*conditions(question, view)).order_by(*order)
    if question.limit is not None:
        statement = statement.limit(literal(min(question.limit, INT64_MAX), BigInteger()))
    behind = None if question.after is None else _behind(question.order, question.after, rows)
    statements = [statement] if behind is None else [statement.where(part) for part in behind]
    if not is_sorted:
        return statements
    return [select(*columns).where(rows.c.seq.in_(one)).order_by(*order) for one in statements]


def conditions(question: Question, view: View) -> list[ColumnElement[bool]]:
    """What all rows that `question` is about fulfil; its order, place and limit are left out."""
    rows, probe = view.rows, view.probe
    found = [*_scope(question.scope, view)]
    if question.record_id is not None:
        found.append(_record_id(question.record_id, rows))
    for name, bounds in (("start_us", question.start_time), ("stop_us", question.stop_time)):
        found += [compared(rows.c[name], bound) for bound in bounds]
    if question.runtime:
        found += [compared(seconds_of(rows), bound) for bound in question.runtime]
    found += [_meta(condition, view) for condition in question.meta]
    for component in question.components:
        found.append(probe.component_within(component.name, component.bounds) if storable(component.name) else false())
    for score in question.scores:
        found.append(probe.score_within(score.name, score.bounds) if storable(score.name) else false())
    return found


def select_for_sums(question: Question, view: View, only: ColumnElement[bool] | None, *, with_ids: bool) -> Select[Any]:
    """Start, stop and core of the rows that `question` is about and of which `only` is true, in any order.

    With ids the body is in place of the core, for twice the work.
    """
    rows = view.rows
    extra = [] if only is None else [only]
    columns = rows.c.start_us, rows.c.stop_us, rows.c.body if with_ids else rows.c.core
    return select(*columns).where(*conditions(question, view), *extra)


def _behind(order: Order, place: Position, rows: FromClause) -> list[ColumnElement[bool]]:
    """The rows behind `place`, in parts that follow one another: an index serves a range, not a choice of ranges."""
    column = _column(order, rows)
    later = rows.c.seq > place.seq
    absent = column.is_(None)
    if place.value is None:
        return [and_(absent, later), column.is_not(None)] if order.descending else [and_(absent, later)]
    beyond = column < place.value if order.descending else column > place.value
    reached = column <= place.value if order.descending else column >= place.value
    present = and_(reached, or_(beyond, later))
    return [present] if order.descending or order.column in _NEVER_ABSENT else [present, absent]


def _record_id(record_id: str, rows: FromClause) -> ColumnElement[bool]:
    return rows.c.record_id == key_of(record_id) if storable(record_id) else false()


def seconds_of(rows: FromClause) -> ColumnElement[Any]:
    """Whole seconds from start to stop; NULL while the job runs."""
    # Both databases cut towards zero, which is down, since a stop is never before its start.
    return (rows.c.stop_us - rows.c.start_us) // literal(1_000_000, BigInteger())


def _column(order: Order, rows: FromClause) -> ColumnElement[Any]:
    column: ColumnElement[Any] = {
        Column.START_TIME: rows.c.start_us,
        Column.STOP_TIME: rows.c.stop_us,
        Column.RUNTIME: seconds_of(rows),
        Column.RECORD_ID: rows.c.record_id,
    }[order.column]
    return column


def _order(question: Question, rows: FromClause) -> tuple[ColumnElement[Any], ...]:
    order = question.order
    column = _column(order, rows)
    if order.column is Column.RECORD_ID and question.stop_time:
        # As an expression, or the index of all ids would be gone through for the few of a stretch of time.
        column = func.coalesce(column, "")
    first = column.desc().nulls_first() if order.descending else column.asc().nulls_last()
    return first, rows.c.seq


def _scope(scope: Scope, view: View) -> list[ColumnElement[bool]]:
    if scope.any_of is None:
        return []
    groups = [and_(true(), *[_rule(rule, view) for rule in group]) for group in scope.any_of]
    return [or_(false(), *groups)]


def _rule(rule: Rule, view: View) -> ColumnElement[bool]:
    values = [value for value in rule.values if storable(value)]
    if not values or not storable(rule.key):
        return false()
    facet = FACET_OF_KEY.get(rule.key)
    if facet is None:
        return view.probe.meta_holds_any(rule.key, values)
    numbers = select(facet_terms.c.no).where(facet_terms.c.term.in_([term(rule.key, value) for value in values]))
    return _among(view.rows.c[facet.column], numbers.distinct(), view.resolve)


def _meta(condition: MetaCondition, view: View) -> ColumnElement[bool]:
    if not all(map(storable, (condition.key, *condition.contains))):
        return false()
    lacks = [value for value in condition.lacks if storable(value)]
    facet = FACET_OF_KEY.get(condition.key)
    if facet is None:
        return view.probe.meta_holds(condition.key, condition.contains, lacks)
    first, *others = [term(condition.key, value) for value in condition.contains] or [term(condition.key)]
    numbers = select(facet_terms.c.no).where(facet_terms.c.term == first)
    for other in others:
        numbers = numbers.where(facet_terms.c.no.in_(_with_term(other)))
    for value in lacks:
        numbers = numbers.where(facet_terms.c.no.not_in(_with_term(term(condition.key, value))))
    return _among(view.rows.c[facet.column], numbers, view.resolve)


def _with_term(digest: bytes) -> Select[tuple[int]]:
    terms = facet_terms.alias()
    return select(terms.c.no).where(terms.c.term == digest)


def _among(column: ColumnElement[Any], numbers: Select[tuple[int]], resolve: Resolve) -> ColumnElement[bool]:
    """The rows whose `column` is among `numbers`: few are written out, so that an index gives the rows in order."""
    found = resolve(numbers.limit(NUMBERS_MAX + 1))
    if not found:
        return false()
    if len(found) == 1:
        return column == found[0]
    return column.in_(found if len(found) <= NUMBERS_MAX else numbers)
