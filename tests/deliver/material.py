"""Records, batches and a clock for the tests of the delivery."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from jobmeter.contract import JobBatch, Refused
from jobmeter.model.outcome import Accepted, Outcome
from jobmeter.model.record import Component, Record

START = datetime(2024, 3, 1, tzinfo=UTC)


class SetClock:
    """A clock that moves only when told."""

    def __init__(self, now: datetime = START) -> None:
        self.moment = now

    def now(self) -> datetime:
        return self.moment

    def move(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


class Recorder:
    """A sink in memory; `judge` decides each item."""

    def __init__(self, judge: Callable[[bytes], Outcome] = lambda _: Accepted(), batch_limit: int = 100) -> None:
        self.batch_limit = batch_limit
        self.judge = judge
        self.sends: list[list[bytes]] = []
        self.accepted: list[bytes] = []

    def send(self, items: Sequence[bytes]) -> Sequence[Outcome]:
        self.sends.append(list(items))
        outcomes = [self.judge(item) for item in items]
        self.accepted += [item for item, outcome in zip(items, outcomes, strict=True) if isinstance(outcome, Accepted)]
        return outcomes

    def close(self) -> None:
        pass


def record(name: str, cores: int = 1) -> Record:
    return Record(
        record_id=name,
        components=(Component("Cores", cores, ()),),
        start_time=START,
        meta={"site_id": ("here",)},
        stop_time=START + timedelta(hours=1),
    )


def batch(*names: str, cursor: str = "c", refused: Sequence[str] = (), cores: int = 1) -> JobBatch:
    return JobBatch(
        records=tuple(record(name, cores) for name in names),
        refused=tuple(Refused(raw, "is odd") for raw in refused),
        cursor=cursor,
        seen=len(names) + len(refused),
        ignored={},
    )
