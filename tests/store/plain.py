"""The record store as a dictionary: what `put`, `stop` and a question mean, without any database."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from jobmeter.model.outcome import Stopped, Stored
from jobmeter.model.question import (
    Bound,
    Column,
    ComponentCondition,
    MetaCondition,
    Op,
    Question,
    Scope,
    ScoreCondition,
)
from jobmeter.model.record import Record, RecordStop, microseconds
from jobmeter.model.version import Changed, Edit
from jobmeter.wire.auditor import encode_record

_COMPARE: dict[Op, Callable[[float, float], bool]] = {
    Op.GT: operator.gt,
    Op.GTE: operator.ge,
    Op.LT: operator.lt,
    Op.LTE: operator.le,
    Op.EQUALS: operator.eq,
}


class PlainStore:
    """Records in order of insertion."""

    def __init__(self) -> None:
        self.records: dict[str, Record] = {}
        self.withdrawn: dict[str, Record] = {}
        self.past: list[tuple[int, dict[str, Record]]] = []

    def note(self, moment_us: int) -> None:
        """What is stored now is so since this moment, which is never before an earlier one."""
        self.past.append((moment_us, dict(self.records)))

    def at(self, moment_us: int | None) -> dict[str, Record]:
        """What was stored at this moment."""
        if moment_us is None:
            return self.records
        return next((found for since_us, found in reversed(self.past) if since_us <= moment_us), {})

    def put(self, records: Sequence[Record]) -> list[Stored]:
        return [self._put(record) for record in records]

    def _put(self, record: Record) -> Stored:
        stored = self.records.get(record.record_id) or self.withdrawn.get(record.record_id)
        if stored is None:
            self.records[record.record_id] = record
            return Stored.NEW
        if stored == record or (record.stop_time is None and replace(stored, stop_time=None) == record):
            return Stored.SAME
        return Stored.CONFLICT

    def correct(self, record: Record, edit: Edit) -> Changed:
        del edit
        if record.record_id not in self.records:
            return Changed.UNKNOWN
        if encode_record(self.records[record.record_id]) == encode_record(record):
            return Changed.SAME
        self.records[record.record_id] = record
        return Changed.DONE

    def withdraw(self, record_id: str, edit: Edit) -> Changed:
        del edit
        if record_id not in self.records:
            return Changed.UNKNOWN
        self.withdrawn[record_id] = self.records.pop(record_id)
        return Changed.DONE

    def stop(self, stops: Sequence[RecordStop]) -> list[Stopped]:
        return [self._stop(stop) for stop in stops]

    def _stop(self, stop: RecordStop) -> Stopped:
        record = self.records.get(stop.record_id)
        if record is None:
            return Stopped.UNKNOWN
        if stop.stop_time < record.start_time:
            return Stopped.BEFORE_START
        self.records[stop.record_id] = msgspec.structs.replace(record, stop_time=stop.stop_time)
        return Stopped.DONE

    def answer(self, question: Question) -> list[Record]:
        found = [record for record in self.at(question.as_of_us).values() if _matches(record, question)]
        column, descending = question.order.column, question.order.descending
        with_value = [record for record in found if _value(record, column) is not None]
        without = [record for record in found if _value(record, column) is None]
        with_value.sort(key=lambda record: _value(record, column), reverse=descending)
        if descending:  # sorting in reverse keeps equals in their order too
            return (without + with_value)[: question.limit]
        return (with_value + without)[: question.limit]


def _value(record: Record, column: Column) -> Any:
    if column is Column.RECORD_ID:
        return record.record_id.encode()
    if column is Column.RUNTIME:
        return record.runtime_seconds
    moment = record.start_time if column is Column.START_TIME else record.stop_time
    return None if moment is None else microseconds(moment)


def _matches(record: Record, question: Question) -> bool:
    return (
        _visible(record, question.scope)
        and question.record_id in {None, record.record_id}
        and _within(_value(record, Column.START_TIME), question.start_time)
        and _within(_value(record, Column.STOP_TIME), question.stop_time)
        and _within(_value(record, Column.RUNTIME), question.runtime)
        and all(_meta(record, condition) for condition in question.meta)
        and all(_component(record, condition) for condition in question.components)
        and all(_score(record, condition) for condition in question.scores)
    )


def _visible(record: Record, scope: Scope) -> bool:
    if scope.any_of is None:
        return True
    meta = record.meta or {}
    seen = any(all(set(rule.values) & set(meta.get(rule.key, ())) for rule in group) for group in scope.any_of)
    assert scope.sees(record.meta) == seen
    return seen


def _within(value: int | None, bounds: Sequence[Bound]) -> bool:
    return not bounds or (value is not None and all(_COMPARE[bound.op](value, bound.value) for bound in bounds))


def _meta(record: Record, condition: MetaCondition) -> bool:
    values = (record.meta or {}).get(condition.key)
    if values is None:
        return False
    return set(condition.contains) <= set(values) and not set(condition.lacks) & set(values)


def _component(record: Record, condition: ComponentCondition) -> bool:
    return any(
        component.name == condition.name and _within(component.amount, condition.bounds)
        for component in record.components
    )


def _score(record: Record, condition: ScoreCondition) -> bool:
    return any(
        score.name == condition.name and all(_COMPARE[bound.op](score.value, bound.value) for bound in condition.bounds)
        for component in record.components
        for score in component.scores
    )
