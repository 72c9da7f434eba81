"""What both clients do, step by step, without input or output: a client takes each step and tells what came of it.

A generator yields a Call, and gets its answer or has the ClientError raised in it; or a Wait, and goes on after that.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Generator, Iterable
from types import MappingProxyType
from typing import Any, TypeVar

import httpx
from msgspec import Struct

from jobmeter.client import exchange
from jobmeter.client.access import Access
from jobmeter.client.errors import (
    ClientError,
    ConflictError,
    InvalidError,
    NotAllowedError,
    ServerAwayError,
    TooLargeError,
    UnavailableError,
)
from jobmeter.client.exchange import Call, Group
from jobmeter.client.outcome import RecordOutcome
from jobmeter.model.record import Record

T = TypeVar("T")


class Wait(Struct, frozen=True):
    """A pause before the next attempt."""

    seconds: float


Steps = Generator[Call[Any] | Wait, Any, T]


def asking(access: Access, call: Call[T]) -> Steps[T]:
    """One call, repeated where that is safe and may help."""
    attempt = 0
    while True:
        attempt += 1
        try:
            answer: T = yield call
        except (ServerAwayError, UnavailableError) as error:
            yield pause(access, error, attempt, again=call.safe)
        else:
            return answer


def adding(access: Access, records: Iterable[Record]) -> Steps[list[RecordOutcome]]:
    """Store many records, in groups; a group that is too large is cut in two."""
    waiting: deque[Group] = deque()
    outcomes: list[RecordOutcome] = []
    try:
        for group in exchange.groups(records):
            waiting.append(group)
            while waiting:
                outcomes += yield from _offering(access, waiting)
    except ClientError as error:
        raise exchange.with_outcomes(error, outcomes) from error.__cause__
    return outcomes


def _offering(access: Access, waiting: deque[Group]) -> Steps[list[RecordOutcome]]:
    group = waiting.popleft()
    try:
        return (yield from asking(access, group.call))
    except TooLargeError as error:
        if len(group.ids) == 1:
            return group.too_large(error)
        waiting.extendleft(reversed(group.halves()))
        return []


def pause(access: Access, error: ServerAwayError | UnavailableError, attempt: int, *, again: bool) -> Wait:
    """How long to wait before the next attempt. Raises `error` when there is none."""
    if not again or attempt >= access.attempts:
        raise error
    asked = error.retry_after_seconds if isinstance(error, UnavailableError) else 0.0
    return Wait(access.wait_seconds(attempt, asked, random.random()))  # noqa: S311 - no secret


def answer_of(call: Call[T], response: httpx.Response) -> T:
    """What the server answered. Raises RefusedError and BrokenAnswerError."""
    if response.status_code != 200:
        raise exchange.refusal(response.status_code, response.headers, response.content)
    return call.read(response.content)


_ERRORS = MappingProxyType(
    {"conflict": (409, ConflictError), "invalid": (400, InvalidError), "forbidden": (403, NotAllowedError)}
)


def taken(outcome: RecordOutcome) -> RecordOutcome:
    """The outcome of a record that is stored. Raises ConflictError, InvalidError or NotAllowedError for another."""
    if outcome.stored:
        return outcome
    status, kind = _ERRORS[outcome.outcome]
    raise kind(status, outcome.reason or outcome.outcome, outcome.field)
