"""Conditions on the rows of an archive file, as DuckDB's SQL. Names of columns are quoted, every value is bound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from jobmeter.model.question import (
    Bound,
    Column,
    ComponentCondition,
    MetaCondition,
    Op,
    Order,
    Position,
    Question,
    Rule,
    ScoreCondition,
)
from jobmeter.store.archive.layout import KEY, Layout, amount, meta_column, outline
from jobmeter.store.archive.ledger import ArchiveFile
from jobmeter.store.archive.shred import split_key
from jobmeter.store.row import key_of, storable

_SIGNS = {Op.GT: ">", Op.GTE: ">=", Op.LT: "<", Op.LTE: "<=", Op.EQUALS: "="}
_META = "CAST(json_extract(whole, '$.meta') AS MAP(VARCHAR, VARCHAR[]))"
_COMPONENTS = "CAST(json_extract(whole, '$.components') AS STRUCT(\"name\" VARCHAR, amount BIGINT, scores JSON)[])"
_SCORED = 'STRUCT("name" VARCHAR, amount BIGINT, scores STRUCT("name" VARCHAR, "value" DOUBLE)[])[]'


VALUES_MAX = 8
"""More values than these are not asked for one by one."""

_HOLDS = "list_contains({}, ?)"
"""A seventh of the time of `list_has_all`, for it is asked of the dictionary of a column and not of each row."""


class Clause(Struct, frozen=True):
    """A condition with the values to bind, in order."""

    text: str
    values: list[Any]


FALSE = Clause("false", [])


def key_column(layout: Layout, order: Order) -> str:
    """What rows are ordered by, as SQL."""
    return {
        Column.START_TIME: layout.start_us,
        Column.STOP_TIME: layout.stop_us,
        Column.RUNTIME: "runtime",
        Column.RECORD_ID: KEY,
    }[order.column]


def clauses(file: ArchiveFile, question: Question) -> list[Clause]:
    """What a row of `file` must fulfil to answer `question`, and not to be back in the database."""
    found = []
    if question.scope.any_of is not None:
        found.append(any_of([all_of([_rule(file, rule) for rule in group]) for group in question.scope.any_of]))
    if question.record_id is not None:
        found.append(_id(question.record_id))
    if question.as_of_us is not None and file.layout.dated:
        found.append(Clause("(since_us IS NULL OR since_us <= ?)", [question.as_of_us]))
    found += [_compared(file.layout.start_us, bound) for bound in question.start_time]
    for bound in question.stop_time:
        found += [_compared(file.layout.stop_us, bound), *_seconds(bound)]
    found += [_compared("runtime", bound) for bound in question.runtime]
    found += [_meta(file, condition) for condition in question.meta]
    found += [_component(file, condition) for condition in question.components]
    found += [_score(file, condition) for condition in question.scores]
    if file.recalled:
        found.append(Clause("seq NOT IN (SELECT unnest(?))", [list(file.recalled)]))
    if question.after is not None:
        found += _behind(file.layout, question.order, question.after)
    return found


def any_of(parts: Sequence[Clause]) -> Clause:
    """At least one of `parts` holds."""
    if not parts:
        return FALSE
    return Clause(" OR ".join(f"({part.text})" for part in parts), [value for part in parts for value in part.values])


def all_of(parts: Sequence[Clause]) -> Clause:
    """Every one of `parts` holds."""
    text = " AND ".join(f"({part.text})" for part in parts) or "true"
    return Clause(text, [value for part in parts for value in part.values])


def _compared(column: str, bound: Bound) -> Clause:
    return Clause(f"{column} {_SIGNS[bound.op]} ?", [bound.value])


def _seconds(bound: Bound) -> list[Clause]:
    """The same in whole seconds, of which a file keeps the least and the largest of each row group."""
    seconds = bound.value // 1_000_000
    if bound.op is Op.EQUALS:
        return [Clause("stop_time = ?", [seconds])]
    return [Clause(f"stop_time {'>=' if bound.op in (Op.GT, Op.GTE) else '<='} ?", [seconds])]


def _behind(layout: Layout, order: Order, place: Position) -> list[Clause]:
    """The rows behind a place. Archived records have a value in every column."""
    if place.value is None:
        return [] if order.descending else [FALSE]
    column = key_column(layout, order)
    beyond = "<" if order.descending else ">"
    found = [Clause(f"{column} {beyond} ? OR ({column} = ? AND seq > ?)", [place.value, place.value, place.seq])]
    if order.column is Column.STOP_TIME and isinstance(place.value, int):
        found.append(Clause(f"stop_time {beyond}= ?", [place.value // 1_000_000]))
    return found


def _id(record_id: str) -> Clause:
    if not storable(record_id):
        return FALSE
    head, number = split_key(key_of(record_id))
    if number is None:
        return Clause("id_head = ? AND id_number IS NULL", [head])
    return Clause("id_number = ? AND id_head = ?", [number, head])


def _rule(file: ArchiveFile, rule: Rule) -> Clause:
    values = [value for value in rule.values if storable(value)]
    if not values or not storable(rule.key):
        return FALSE
    if len(values) > VALUES_MAX:
        return _lists(file, rule.key, "list_has_any({}, ?)", [values])
    return _lists(file, rule.key, f"({' OR '.join([_HOLDS] * len(values))})", values)


def _meta(file: ArchiveFile, condition: MetaCondition) -> Clause:
    if not all(map(storable, (condition.key, *condition.contains))):
        return FALSE
    lacks = [value for value in condition.lacks if storable(value)]
    tests = ["{} IS NOT NULL", *[_HOLDS] * len(condition.contains), *[f"NOT {_HOLDS}"] * len(lacks)]
    return _lists(file, condition.key, " AND ".join(tests), [*condition.contains, *lacks])


def _lists(file: ArchiveFile, key: str, test: str, values: list[Any]) -> Clause:
    """`test` of the list under a meta key, whether it has a column or stands in a body that is kept whole."""
    parts = []
    if key in file.layout.meta:
        # A row that is kept whole may have the column as well; the body says the same.
        parts.append(Clause(f"whole IS NULL AND {test.replace('{}', meta_column(key))}", values))
    if file.whole:
        keyed = test.replace("{}", f"{_META}[?]")
        rest = iter(values)
        # Where the column stood the key is bound now: in the order of both kinds of marks.
        mixed = [key if mark == "{" else next(rest) for mark in test if mark in "{?"]
        parts.append(Clause(f"whole IS NOT NULL AND {keyed}", mixed))
    return any_of(parts)


def _component(file: ArchiveFile, condition: ComponentCondition) -> Clause:
    if not storable(condition.name):
        return FALSE
    parts = []
    bounds = [bound.value for bound in condition.bounds]
    if condition.name in file.layout.components:
        value = amount(file.layout, condition.name)
        tests = [f"{value} IS NOT NULL", *[f"{value} {_SIGNS[bound.op]} ?" for bound in condition.bounds]]
        parts.append(Clause(f"whole IS NULL AND {' AND '.join(tests)}", bounds))
    if file.whole:
        tests = ["c.name = ?", *[f"c.amount {_SIGNS[bound.op]} ?" for bound in condition.bounds]]
        counted = f"len(list_filter({_COMPONENTS}, lambda c: {' AND '.join(tests)}))"
        parts.append(Clause(f"whole IS NOT NULL AND {counted} > 0", [condition.name, *bounds]))
    return any_of(parts)


def _score(file: ArchiveFile, condition: ScoreCondition) -> Clause:
    """Scores stand in the templates alone."""
    if not storable(condition.name):
        return FALSE
    tests = ["s.name = ?", *[f"s.value {_SIGNS[bound.op]} ?" for bound in condition.bounds]]
    components = f"CAST(json_extract(coalesce(whole, {outline(file.layout)}), '$.components') AS {_SCORED})"
    scores = f"flatten(list_transform({components}, lambda c: c.scores))"
    values = [condition.name, *[bound.value for bound in condition.bounds]]
    return Clause(f"len(list_filter({scores}, lambda s: {' AND '.join(tests)})) > 0", values)
