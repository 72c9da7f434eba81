"""A page: the first rows of an answer, and where the next page begins."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any

from msgspec.structs import replace

from jobmeter.model.question import Page, Position, Question

Row = tuple[Any, int, bytes]
"""A record on its way out: the two parts of its place in the order, and its body. Text may come as UTF-8 bytes."""


def page_of(rows: Callable[[Question], Generator[Row]], question: Question, bytes_max: int) -> Page:
    """The page that `question`, which has a limit, asks for; one row more than the limit is looked at."""
    limit = question.limit or 0
    if not limit:
        return Page([], None)
    bodies: list[bytes] = []
    room = bytes_max
    value, seq = None, 0
    with closing(rows(replace(question, limit=limit + 1))) as found:
        for value_found, seq_found, body in found:
            if len(bodies) == limit or (room <= 0 and bodies):
                return Page(bodies, Position(value.decode() if isinstance(value, bytes) else value, seq))
            value, seq = value_found, seq_found
            bodies.append(body)
            room -= len(body)
    return Page(bodies, None)
