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
        # The answer has sums first, then minima, then maxima.
        answered = sorted(question.measures, key=lambda each: each.latest + 1 if isinstance(each, Extreme) else 0)
        places = [answered.index(measure) for measure in question.measures]
        return [_total(question, answered, places, group) for group in groups]
    except (ValueError, KeyError, TypeError, RecursionError) as fault:
        raise BadTotals(f"is no answer with totals: {fault!r}") from None


def _total(question: TotalQuestion, answered: Sequence[Measure], places: Sequence[int], group: Any) -> Total:
    key = tuple(group["key"])
    if len(key) != len(question.group_by):
        raise BadTotals("a key has not a value per dimension")
    cells = zip(answered, group["values"], group["counted"], strict=True)
    found = [_measured(measure, told, count) for measure, told, count in cells]
    return Total(key, tuple([found[place] for place in places]))


def _measured(measure: Measure, told: Any, count: Any) -> Measured:
    value = microseconds(parse_time(told)) if isinstance(measure, Extreme) and told is not None else told
    if not isinstance(value, int | Decimal | None) or not isinstance(count, int) or isinstance(value, bool):
        raise BadTotals(f"{value!r} is no number")
    return Measured(value, count)
