"""The JSON answer of `GET /v2/totals`, read back into values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from jobmeter.model.record import microseconds
from jobmeter.model.total import Extreme, Measure, Measured, Total, TotalQuestion
from jobmeter.wire.auditor import parse_time


class BadTotals(ValueError):  # noqa: N818 - what it is, not that it is an error
    """A body that is no answer to the question; the message says where it departs."""


def decode_totals(question: TotalQuestion, body: bytes) -> list[Total]:
    """The groups of an answer to `question`, numbers exact. Raises BadTotals, also where a part is missing."""
    try:
        answer = json.loads(body, parse_float=Decimal)
        groups = answer["groups"]
        if len(answer["group_by"]) != len(question.group_by) or len(answer["measures"]) != len(question.measures):
            raise BadTotals("the answer is to another question")
        return [_total(question, group) for group in groups]
    except (ValueError, KeyError, TypeError, RecursionError) as fault:
        raise BadTotals(f"is no answer with totals: {fault!r}") from None


def _total(question: TotalQuestion, group: Any) -> Total:
    key = tuple(group["key"])
    if len(key) != len(question.group_by):
        raise BadTotals("a key has not a value per dimension")
    return Total(key, tuple(_measured(question, group["values"], group["counted"])))


def _measured(question: TotalQuestion, values: Sequence[Any], counted: Sequence[Any]) -> list[Measured]:
    """The measures in the question's order; the answer has sums first, then minima, then maxima."""
    found: dict[Measure, Measured] = {}
    answered = sorted(question.measures, key=lambda each: each.latest + 1 if isinstance(each, Extreme) else 0)
    for measure, told, count in zip(answered, values, counted, strict=True):
        value = microseconds(parse_time(told)) if isinstance(measure, Extreme) and told is not None else told
        if not isinstance(value, int | Decimal | None) or not isinstance(count, int) or isinstance(value, bool):
            raise BadTotals(f"{value!r} is no number")
        found[measure] = Measured(value, count)
    return [found[measure] for measure in question.measures]
