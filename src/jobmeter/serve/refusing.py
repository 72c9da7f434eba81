"""Endpoints that say no by raising: what is raised on the way to an answer becomes one, in one place."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

import msgspec

from jobmeter.contract import StoreUnavailable
from jobmeter.query.fault import BadQuery
from jobmeter.serve.answer import UNANSWERED, Problem, Send, send_away, send_json
from jobmeter.serve.body import BodyRefused, Disconnected

B = TypeVar("B")


class Refusal(Exception):  # noqa: N818 - a decision, carried to where it is answered
    """The answer is no, with this status."""

    def __init__(self, status: int, problem: Problem) -> None:
        super().__init__(problem.error)
        self.status = status
        self.problem = problem


async def answered(send: Send, work: Awaitable[object]) -> int:
    """200 with what `work` gives, in JSON; or the no that it raises, 503 where the store does not answer."""
    try:
        found = await work
    except BodyRefused as refusal:
        return await send_json(send, refusal.status, Problem(str(refusal)))
    except Refusal as refusal:
        return await send_json(send, refusal.status, refusal.problem)
    except BadQuery as fault:
        return await send_json(send, 400, problem_of(fault))
    except StoreUnavailable as fault:
        return await send_away(send, str(fault))
    except Disconnected:
        return UNANSWERED
    return await send_json(send, 200, found)


def problem_of(fault: BadQuery) -> Problem:
    """What to say of a query string that asks nothing."""
    return Problem(str(fault), fault.key or None, fault.reason)


def decoded(body: bytes, kind: type[B]) -> B:
    """The body of a request. Raises Refusal."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as fault:
        raise Refusal(400, Problem(f"the body is not understood: {fault}")) from None
