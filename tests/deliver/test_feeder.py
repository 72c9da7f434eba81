"""A sink of samples may fail in every way that it has: it loses nothing that was accepted, and comes back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from jobmeter.deliver.feeder import Feeder, Pace
from jobmeter.deliver.memory_log import MemoryLog
from jobmeter.deliver.retry import Backoff
from jobmeter.deliver.settings import BackoffSettings
from jobmeter.model.outcome import Accepted, Keep, Outcome, Rejected
from jobmeter.model.sample import SampleBatch
from jobmeter.wire.frame import Head, decode_frame, encode_frame
from tests.process import eventually
from tests.transport.given import batch


class Faulty:
    """Takes values, but for what is planned to go wrong: at a value, or so many times in `flush`."""

    def __init__(self, at: dict[int, Exception | Outcome] | None = None, flushes: Sequence[Exception] = ()) -> None:
        self.taken: list[int] = []
        self.durable = 0
        self.calls = 0
        self._at = at or {}
        self._flushes = list(flushes)

    def write(self, given: SampleBatch) -> Sequence[Outcome]:
        self.calls += 1
        outcomes: list[Outcome] = []
        for sample in given.samples:
            value = int(sample.values[0] or 0)
            planned = self._at.get(value, Accepted())
            if isinstance(planned, Exception):
                raise planned
            outcomes.append(planned)
        self.taken += [
            int(sample.values[0] or 0)
            for sample, outcome in zip(given.samples, outcomes, strict=True)
            if isinstance(outcome, Accepted)
        ]
        return outcomes

    def flush(self) -> None:
        if self._flushes:
            raise self._flushes.pop()
        self.durable = len(self.taken)

    def reopen(self) -> None: ...

    def close(self) -> None: ...


def feeder(sink: Faulty, cursor: Path, number: int = 20) -> Feeder:
    log = MemoryLog(2**20)
    made = Feeder(
        "faulty",
        sink,
        log,
        lambda entry: decode_frame(entry.body)[1],
        cursor_file=cursor,
        pace=Pace(samples_at_once=8, flush_seconds=0.0),
        backoff=Backoff(BackoffSettings(first_seconds=0.001, longest_seconds=0.001), lambda: 0.0),
    )
    for value in range(number):
        log.append(encode_frame(Head("n1", 0, 0), batch(value)), 1)
    return made


def fed(made: Feeder) -> None:
    """Feed until nothing is left to do."""
    eventually(lambda: made.cycle() > 0 and made.done == 21)


@pytest.mark.parametrize("fault", [ValueError("a fault"), RuntimeError("another"), KeyError("third")])
def test_the_one_sample_that_a_sink_stumbles_over_is_given_up(fault: Exception, tmp_path: Path) -> None:
    sink = Faulty({7: fault})
    made = feeder(sink, tmp_path / "cursor")
    fed(made)
    assert sorted(sink.taken) == [value for value in range(20) if value != 7]
    assert (made.stats.accepted, made.stats.rejected) == (19, 1)
    assert sink.calls <= 3 + 4 + 2 * 3 + 1, "four more tries, then halves of eight samples"


def test_what_a_sink_keeps_comes_again_alone(tmp_path: Path) -> None:
    outcomes: dict[int, Exception | Outcome] = {3: Keep(reason="later"), 5: Rejected("never")}
    sink = Faulty(outcomes)
    made = feeder(sink, tmp_path / "cursor")
    for _ in range(3):
        made.cycle()
    assert made.done == 1
    del outcomes[3]
    fed(made)
    assert sorted(sink.taken) == [value for value in range(20) if value != 5]
    assert len(sink.taken) == 19


@pytest.mark.parametrize("fault", [OSError("no space"), OverflowError("a bug"), ValueError("another")])
def test_what_was_not_made_durable_is_not_done_whatever_the_fault(fault: Exception, tmp_path: Path) -> None:
    cursor = tmp_path / "cursor"
    sink = Faulty(flushes=[fault] * 3)
    made = feeder(sink, cursor)
    for _ in range(3):
        made.cycle()
    assert (made.done, cursor.read_text(), sink.durable) == (1, "1\n", 0)
    assert str(fault) in made.stats.reason
    fed(made)
    assert (sink.durable, cursor.read_text()) == (20, "21\n")
