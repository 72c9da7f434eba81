"""`GET /v2/totals`: sums over records by group, in JSON, or in CSV when `Accept` or `format` says so.

Numbers are written with all their digits. A group's values are a list, never joined text, and null where the records
have no such value; in CSV, which has no null, that is an empty cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct

from jobmeter.contract import Clock, RecordStore, StoreUnavailable
from jobmeter.model.question import Column
from jobmeter.model.record import from_microseconds
from jobmeter.model.total import Extreme, FieldDimension, Measured, TooManyGroups, Total, TotalQuestion
from jobmeter.query.parse import BadQuery
from jobmeter.query.total_text import dimension_text, measure_text
from jobmeter.query.totals import parse_totals
from jobmeter.serve.answer import JSON, Problem, Receive, Scope, Send, send_away, send_bytes, send_json
from jobmeter.serve.asker import asker_of
from jobmeter.serve.form import Form, form_asked
from jobmeter.serve.instant import check_instant
from jobmeter.serve.reads import Readers
from jobmeter.wire import spreadsheet

# A cell is text, a whole number, a decimal, or None; msgspec's types cannot say decimal beside text.
Cell = Any


class Group(Struct, frozen=True):
    """One group: its key, the value of each measure, and how many terms each was made of."""

    key: list[str | int | None]
    values: list[str | int | float | None]
    counted: list[int]


class Totals(Struct, frozen=True):
    """The answer: what was grouped by and measured, then the groups in the order of their keys."""

    group_by: list[str]
    measures: list[str]
    groups: list[Group]


class RecordTotals:
    """The endpoint."""

    def __init__(self, store: RecordStore, readers: Readers, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._readers = readers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> int:
        """Answer with the totals that the query string asks for."""
        del receive
        try:
            form, query = form_asked(scope, ("json", "csv"))
            question = parse_totals(query, asker_of(scope).scope)
            check_instant(question.where.as_of_us, self._clock)
            wanted = csv_of if form is Form.CSV else json_of
            body = await self._readers.ask(lambda: wanted(question, self._store.totals(question)))
        except (BadQuery, TooManyGroups) as fault:
            return await send_json(send, 400, Problem(str(fault)))
        except StoreUnavailable as fault:
            return await send_away(send, str(fault))
        return await send_bytes(send, 200, body, JSON if wanted is json_of else spreadsheet.TYPE)


def json_of(question: TotalQuestion, totals: Sequence[Total]) -> bytes:
    """The totals in JSON."""
    groups = [Group(_key(question, total), _values(question, total), _counted(total)) for total in totals]
    return _encode(Totals(*_heads(question), groups))


def csv_of(question: TotalQuestion, totals: Sequence[Total]) -> bytes:
    """The totals in CSV: the parts of the key, the measures, then for each measure of how many terms it was made."""
    group_by, measures = _heads(question)
    heads = [*group_by, *measures, *[f"{measure} counted" for measure in measures]]
    rows = ([*_key(question, total), *_values(question, total), *_counted(total)] for total in totals)
    return spreadsheet.csv_of(heads, rows)


_encode = msgspec.json.Encoder(decimal_format="number").encode


def _heads(question: TotalQuestion) -> tuple[list[str], list[str]]:
    return [*map(dimension_text, question.group_by)], [*map(measure_text, question.measures)]


def _key(question: TotalQuestion, total: Total) -> list[Cell]:
    return [
        _moment(part) if isinstance(dimension, FieldDimension) and dimension.column in _TIMES else part
        for dimension, part in zip(question.group_by, total.key, strict=True)
    ]


def _values(question: TotalQuestion, total: Total) -> list[Cell]:
    return [
        _moment(measured.value) if isinstance(measure, Extreme) else _number(measured)
        for measure, measured in zip(question.measures, total.measured, strict=True)
    ]


def _counted(total: Total) -> list[int]:
    return [measured.counted for measured in total.measured]


_TIMES = (Column.START_TIME, Column.STOP_TIME)


def _moment(value: object) -> str | None:
    return from_microseconds(value).isoformat().replace("+00:00", "Z") if isinstance(value, int) else None


def _number(measured: Measured) -> Cell:
    value = measured.value
    # The encoder writes whole numbers of 64 bits, and decimals of any length.
    return Decimal(value) if isinstance(value, int) and value.bit_length() > 63 else value
