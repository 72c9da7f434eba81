"""Records and questions, written short."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec

from jobmeter.contract import RecordStore
from jobmeter.model.question import Question, Scope
from jobmeter.model.record import EPOCH, Component, Record, Score

ALL = Scope.everything()


def second(number: float) -> datetime:
    """The moment `number` seconds after 1970."""
    return EPOCH + timedelta(seconds=number)


def record(
    record_id: str = "r",
    *,
    start: float = 0,
    stop: float | None = 10,
    meta: dict[str, tuple[str, ...]] | None = None,
    components: tuple[tuple[str, int], ...] = (),
) -> Record:
    """A record with times in seconds after 1970."""
    return Record(
        record_id=record_id,
        components=tuple(Component(name, amount, (Score("HEPSPEC", 1.5),)) for name, amount in components),
        start_time=second(start),
        meta=meta,
        stop_time=None if stop is None else second(stop),
    )


def decoded(body: bytes) -> dict[str, Any]:
    """A body as Python values."""
    value: dict[str, Any] = msgspec.json.decode(body)
    return value


def ids(store: RecordStore, scope: Scope = ALL, **conditions: Any) -> list[str]:
    """The ids of the records that answer, in order."""
    return [decoded(line)["record_id"] for line in lines(store, Question(scope, **conditions))]


def lines(store: RecordStore, question: Question) -> list[bytes]:
    """The bodies that answer `question`."""
    answer = b"".join(store.stream(question))
    assert not answer or answer.endswith(b"\n")
    return answer.split(b"\n")[:-1]
