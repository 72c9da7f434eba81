"""The outbox in a real file: what is said once is sent once, what is newer takes its place, nothing is forgotten."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from jobmeter.deliver.fault import SpoolCorrupt
from jobmeter.deliver.outbox import LEASE_SECONDS, Outbox, State
from jobmeter.deliver.pump import Pump
from jobmeter.model.outcome import Accepted, Keep, Outcome, Rejected
from tests.deliver.material import SetClock

KEY = ("apel", "SITE_A", "2024-03")


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def outbox(tmp_path: Path, clock: SetClock) -> Iterator[Outbox]:
    with Outbox(tmp_path / "reports.db", clock) as made:
        yield made


def states(outbox: Outbox) -> list[State]:
    return [parcel.state for parcel in reversed(outbox.history(100))]


def accept_all(outbox: Outbox) -> list[bytes]:
    entries = outbox.due(100)
    outbox.settle([(entry, Accepted(receipt=f"id-{entry.number}")) for entry in entries])
    return [entry.body for entry in entries]


def test_what_was_accepted_stays_with_time_digest_and_receipt(outbox: Outbox, clock: SetClock) -> None:
    assert outbox.put(KEY, [b"one", b"two"], {"jobs": 5})
    assert outbox.accepted(KEY) is None
    assert accept_all(outbox) == [b"one", b"two"]
    newest, oldest = outbox.history(10)
    assert (oldest.key, oldest.part, oldest.parts, oldest.receipt) == (KEY, 0, 2, "id-1")
    assert oldest.digest == "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
    assert newest.settled == clock.now()
    assert outbox.accepted(KEY) == {"jobs": 5}
    assert outbox.next_due_seconds() is None


def test_the_same_is_not_said_twice(outbox: Outbox) -> None:
    assert outbox.put(KEY, [b"one"], {})
    assert not outbox.put(KEY, [b"one"], {})
    accept_all(outbox)
    assert not outbox.put(KEY, [b"one"], {})
    assert outbox.put((*KEY[:2], "2024-04"), [b"one"], {})
    assert outbox.put(KEY, [b"on", b"e"], {})


def test_what_was_counted_is_the_newest_also_where_nothing_new_is_said(outbox: Outbox) -> None:
    outbox.put(KEY, [b"one"], {"unfit": 1})
    accept_all(outbox)
    assert not outbox.put(KEY, [b"one"], {"unfit": 2})
    assert outbox.accepted(KEY) == {"unfit": 2}


def test_what_somebody_was_told_is_told_again_only_when_it_changes(outbox: Outbox) -> None:
    outbox.put(KEY, [b"one", b"two"], {})
    outbox.tell(outbox.untold(1))
    assert [parcel.number for parcel in outbox.untold(10)] == [2]
    outbox.tell(outbox.untold(10))
    assert outbox.untold(10) == []
    seen = outbox.history(10)
    accept_all(outbox)
    outbox.tell(seen)  # of the past: what became of them since was not told
    assert [parcel.receipt for parcel in outbox.untold(10)] == ["id-1", "id-2"]


def test_keys_whose_parts_run_together_are_different(outbox: Outbox) -> None:
    assert outbox.put(("a", "bc"), [b"x"], {})
    assert outbox.put(("ab", "c"), [b"x"], {})


def test_a_newer_consignment_takes_the_place_of_what_waits(outbox: Outbox) -> None:
    outbox.put(KEY, [b"old", b"old too"], {"jobs": 1})
    (first,) = outbox.due(1)
    outbox.settle([(first, Accepted())])
    outbox.put(KEY, [b"new"], {"jobs": 2})
    assert states(outbox) == [State.ACCEPTED, State.SUPERSEDED, State.WAITING]
    assert outbox.accepted(KEY) is None
    assert accept_all(outbox) == [b"new"]
    assert outbox.accepted(KEY) == {"jobs": 2}


def test_what_was_on_its_way_when_it_was_superseded_is_told_as_it_ended(outbox: Outbox) -> None:
    outbox.put(KEY, [b"a"], {})
    outbox.put(("other",), [b"b"], {})
    one, other = outbox.due(2)
    outbox.put(KEY, [b"a2"], {})
    outbox.put(("other",), [b"b2"], {})
    outbox.settle([(one, Accepted("7")), (other, Rejected("late"))])
    assert states(outbox) == [State.ACCEPTED, State.SUPERSEDED, State.WAITING, State.WAITING]


def test_a_kept_parcel_comes_again_and_a_lost_deliverer_loses_nothing(outbox: Outbox, clock: SetClock) -> None:
    outbox.put(KEY, [b"a"], {})
    (entry,) = outbox.due(5)
    assert outbox.due(5) == []
    outbox.settle([(entry, Keep(60, "away"))])
    assert outbox.next_due_seconds() == pytest.approx(60)
    assert outbox.history(1)[0].reason == "away"
    clock.move(61)
    (again,) = outbox.due(5)
    assert again.attempts == 1
    clock.move(LEASE_SECONDS + 1)
    assert [entry.number for entry in outbox.due(5)] == [entry.number]


def test_a_rejected_parcel_waits_for_a_person_and_is_not_offered_again_unchanged(outbox: Outbox) -> None:
    outbox.put(KEY, [b"a"], {})
    (entry,) = outbox.due(1)
    outbox.settle([(entry, Rejected("too large"))])
    assert not outbox.put(KEY, [b"a"], {})
    assert outbox.due(1) == []
    assert outbox.history(1)[0].reason == "too large"
    assert outbox.retry(KEY) == 1
    assert outbox.retry(KEY) == 0
    assert accept_all(outbox) == [b"a"]


def test_it_survives_being_closed(tmp_path: Path, clock: SetClock) -> None:
    with Outbox(tmp_path / "o", clock) as outbox:
        outbox.put(KEY, [b"a"], {})
    with Outbox(tmp_path / "o", clock) as outbox:
        assert accept_all(outbox) == [b"a"]


def test_a_file_that_is_something_else_is_told(tmp_path: Path, clock: SetClock) -> None:
    (tmp_path / "o").write_bytes(b"no database" * 1000)
    with pytest.raises(SpoolCorrupt):
        Outbox(tmp_path / "o", clock)


class _Flaky:
    """A sink that keeps each item once."""

    batch_limit = 3

    def __init__(self) -> None:
        self.seen: list[bytes] = []

    def send(self, items: Sequence[bytes]) -> list[Outcome]:
        outcomes: list[Outcome] = [Accepted() if item in self.seen else Keep(reason="not yet") for item in items]
        self.seen += items
        return outcomes

    def close(self) -> None: ...


def test_the_pump_delivers_it(outbox: Outbox, clock: SetClock) -> None:
    for number in range(5):
        outbox.put((str(number),), [b"%d" % number], {})

    def wait(seconds: float) -> bool:
        clock.move(seconds + 1)
        return False

    start = clock.now()
    pump = Pump(
        outbox,
        _Flaky(),
        threading.Event(),
        wait=wait,
        monotonic=lambda: (clock.now() - start) / timedelta(seconds=1),
    )
    assert pump.drain(10_000)
    assert set(states(outbox)) == {State.ACCEPTED}
