from __future__ import annotations

import threading

import pytest

from jobmeter.contract import StoreUnavailable
from jobmeter.store.pool import Pool


class Line:
    """A connection as the pool sees one."""

    def __init__(self) -> None:
        self.broken = False
        self.ended = False

    def end(self) -> None:
        assert not self.ended
        self.ended = True


def pool(limit: int = 2, wait_seconds: float = 0.02) -> Pool[Line]:
    return Pool(Line, Line.end, lambda line: not line.broken, limit=limit, wait_seconds=wait_seconds)


def test_a_returned_connection_is_lent_again() -> None:
    lines = pool()
    first = lines.take()
    lines.give(first)
    assert lines.take() is first


def test_a_broken_connection_is_replaced() -> None:
    lines = pool()
    first = lines.take()
    lines.give(first)
    first.broken = True
    assert lines.take() is not first
    assert first.ended


def test_a_fault_while_lent_ends_the_connection() -> None:
    lines = pool(limit=1)
    with pytest.raises(KeyError), lines.lend() as first:
        raise KeyError
    assert first.ended
    with lines.lend() as second:
        assert second is not first


def test_who_finds_all_connections_in_use_waits_and_then_gives_up() -> None:
    lines = pool(limit=1)
    lines.take()
    with pytest.raises(StoreUnavailable, match="all 1"):
        lines.take()


def test_who_waits_gets_the_connection_that_comes_back() -> None:
    lines = pool(limit=1, wait_seconds=30)
    first = lines.take()
    got: list[Line] = []
    waiter = threading.Thread(target=lambda: got.append(lines.take()))
    waiter.start()
    lines.give(first)
    waiter.join()
    assert got == [first]


def test_a_connection_that_cannot_be_made_takes_no_place() -> None:
    faults = [StoreUnavailable("away"), StoreUnavailable("away")]

    def make() -> Line:
        if faults:
            raise faults.pop()
        return Line()

    lines = Pool(make, Line.end, lambda _: True, limit=1, wait_seconds=0.02)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="away"):
            lines.take()
    lines.take()


def test_closing_ends_idle_connections_now_and_lent_ones_on_return() -> None:
    lines = pool()
    idle, lent = lines.take(), lines.take()
    lines.give(idle)
    lines.close()
    assert [idle.ended, lent.ended] == [True, False]
    lines.give(lent)
    assert [idle.ended, lent.ended] == [True, True]
    with pytest.raises(StoreUnavailable, match="closed"):
        lines.take()
