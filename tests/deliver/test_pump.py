from __future__ import annotations

import json
import logging
import random
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from jobmeter.deliver.fault import SpoolCorrupt, SpoolUnavailable
from jobmeter.deliver.pump import Pump
from jobmeter.deliver.queue import Entry
from jobmeter.deliver.retry import Backoff
from jobmeter.deliver.settings import BackoffSettings, SpoolSettings
from jobmeter.deliver.spool import Spool
from jobmeter.model.outcome import Accepted, Keep, Outcome, Rejected
from jobmeter.sinks.server import Settings, open_sink
from tests.deliver.material import Recorder, SetClock, batch
from tests.sinks.scripted import Request, ScriptedServer, Step, answer

HOUR = 3600.0


class Rig:
    """A spool, a clock that waiting moves, and pumps between them and a sink."""

    def __init__(self, path: Path, seed: int = 1) -> None:
        self.clock = SetClock()
        self.spool = Spool(path, SpoolSettings(reserve_bytes=0, lease_seconds=60), self.clock)
        self.stop = threading.Event()
        self.waits: list[float] = []
        self._chance = random.Random(seed).random

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self.clock.move(seconds)
        return self.stop.is_set()

    def pump(self, sink: Recorder, spool: Spool | None = None) -> Pump:
        return Pump(
            spool or self.spool,
            sink,
            self.stop,
            backoff=Backoff(BackoffSettings(), self._chance),
            wait=self.wait,
            monotonic=lambda: self.clock.now().timestamp(),
        )

    def fill(self, number: int) -> None:
        self.spool.absorb("s", batch(*(f"r{place:04}" for place in range(number))))


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path / "spool.db")
    yield made
    made.spool.close()


def name(body: bytes) -> str:
    return str(json.loads(body)["record_id"])


def test_a_drain_delivers_everything_in_order_and_in_groups(rig: Rig) -> None:
    rig.fill(25)
    sink = Recorder(batch_limit=10)
    pump = rig.pump(sink)
    assert pump.drain(60)
    assert [len(group) for group in sink.sends] == [10, 10, 5]
    assert [name(body) for body in sink.accepted] == [f"r{place:04}" for place in range(25)]
    assert (pump.stats.sends, pump.stats.delivered) == (3, 25)
    assert rig.spool.status().entries == 0


def test_a_drain_of_an_empty_spool_is_done_at_once(rig: Rig) -> None:
    assert rig.pump(Recorder()).drain(0)
    assert rig.waits == []


def test_a_rejected_entry_becomes_a_dead_letter_and_holds_up_no_other(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.fill(10)
    sink = Recorder(lambda body: Rejected("is wrong\n") if name(body) == "r0003" else Accepted())
    with caplog.at_level(logging.INFO, logger="jobmeter"):
        assert rig.pump(sink).drain(60)
    assert len(sink.accepted) == 9
    [letter] = rig.spool.letters(10)
    assert (name(letter.body), letter.reason) == ("r0003", "is wrong\n")
    assert r"pump.rejected entries=1 first_reason='is wrong\n'" in caplog.text


def test_an_entry_that_is_always_kept_holds_up_no_other(rig: Rig) -> None:
    rig.fill(50)
    sink = Recorder(lambda body: Keep() if name(body) == "r0000" else Accepted(), batch_limit=10)
    pump = rig.pump(sink)
    assert not pump.drain(2 * HOUR)
    assert len(sink.accepted) == 49
    assert rig.spool.status().entries == 1
    assert pump.stats.failures > 0


def test_an_entry_that_spoils_every_group_it_is_in_holds_up_no_other(rig: Rig) -> None:
    class Spoiled(Recorder):
        def send(self, items: Sequence[bytes]) -> Sequence[Outcome]:
            if any(name(body) == "r0017" for body in items):
                return [Keep(reason="status 500")] * len(items)
            return super().send(items)

    rig.fill(200)
    sink = Spoiled(batch_limit=64)
    assert not rig.pump(sink).drain(24 * HOUR)
    assert len(set(sink.accepted)) == 199


def test_a_receiver_that_is_away_for_hours_loses_nothing_and_is_not_flooded(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.fill(2000)
    back = rig.clock.now().timestamp() + 12 * HOUR

    def judge(_: bytes) -> Outcome:
        if rig.clock.now().timestamp() >= back:
            return Accepted()
        return Keep(reason="cannot connect")

    sink = Recorder(judge, batch_limit=500)
    pump = rig.pump(sink)
    with caplog.at_level(logging.INFO, logger="jobmeter"):
        assert not pump.drain(11 * HOUR)
        assert sink.accepted == []
        tries = len(sink.sends)
        assert 11 * HOUR / 300 < tries < 600
        assert len(sink.sends[-1]) == 1
        assert pump.drain(3 * HOUR)
    assert sorted(map(name, sink.accepted)) == [f"r{place:04}" for place in range(2000)]
    assert rig.clock.now().timestamp() < back + 4 * 300
    assert max(rig.waits) <= 300
    assert caplog.text.count("pump.kept") == 1
    assert caplog.text.count("pump.recovered") == 1


def test_the_delay_that_the_receiver_asks_for_is_kept(rig: Rig) -> None:
    rig.fill(1)
    outcomes: list[Outcome] = [Keep(delay_seconds=120), Accepted()]
    answers = iter(outcomes)
    assert rig.pump(Recorder(lambda _: next(answers))).drain(HOUR)
    assert sum(rig.waits) >= 120


def test_a_drain_ends_at_its_deadline(rig: Rig) -> None:
    rig.fill(1)
    started = rig.clock.now().timestamp()
    assert not rig.pump(Recorder(lambda _: Keep(delay_seconds=500))).drain(90)
    assert rig.clock.now().timestamp() - started == pytest.approx(90)


def test_a_pump_stops_between_two_sends(rig: Rig) -> None:
    rig.fill(30)

    def stop_after_the_first(body: bytes) -> Outcome:
        rig.stop.set()
        return Accepted()

    sink = Recorder(stop_after_the_first, batch_limit=10)
    rig.pump(sink).run()
    assert len(sink.sends) == 1
    assert rig.spool.status().entries == 20
    rig.stop.clear()
    assert rig.pump(Recorder(batch_limit=10)).drain(1)


def test_a_stop_ends_a_long_wait_at_once(tmp_path: Path) -> None:
    stop = threading.Event()
    with Spool(tmp_path / "spool.db", SpoolSettings(), SetClock()) as spool:
        spool.absorb("s", batch("a"))
        asked = threading.Event()

        def keep(_: bytes) -> Outcome:
            asked.set()
            return Keep(delay_seconds=3000)

        thread = threading.Thread(target=Pump(spool, Recorder(keep), stop).run)
        thread.start()
        assert asked.wait(60)
        stop.set()
        thread.join(60)
        assert not thread.is_alive()


def test_an_idle_pump_looks_for_new_entries(rig: Rig) -> None:
    sink = Recorder()
    pump = rig.pump(sink)
    assert pump.cycle() == 1.0
    rig.fill(1)
    assert pump.cycle() == 0.0
    assert len(sink.accepted) == 1


def test_a_sink_that_fails_loses_nothing(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Recorder):
        def send(self, items: Sequence[bytes]) -> Sequence[Outcome]:
            if not self.sends:
                self.sends.append([])
                raise RuntimeError("a fault of the sink")
            return super().send(items)

    rig.fill(3)
    sink = Broken()
    assert rig.pump(sink).drain(HOUR)
    assert len(sink.accepted) == 3
    assert "pump.sink_failed" in caplog.text


def test_outcomes_that_do_not_match_the_items_settle_nothing(rig: Rig) -> None:
    class Short(Recorder):
        def send(self, items: Sequence[bytes]) -> Sequence[Outcome]:
            return list(super().send(items))[1:] if len(self.sends) < 2 else super().send(items)

    rig.fill(3)
    sink = Short()
    assert rig.pump(sink).drain(HOUR)
    assert {name(body) for body in sink.accepted} == {"r0000", "r0001", "r0002"}


def test_what_could_not_be_settled_is_settled_before_more_is_sent(tmp_path: Path) -> None:
    class Stuck(Spool):
        stuck = True

        def settle(self, outcomes: Sequence[tuple[Entry, Outcome]]) -> None:
            if self.stuck:
                raise SpoolUnavailable(self.path, "disk I/O error")
            super().settle(outcomes)

    rig = Rig(tmp_path / "spool.db")
    spool = Stuck(rig.spool.path, SpoolSettings(), rig.clock)
    with closing(rig.spool), closing(spool):
        rig.fill(20)
        sink = Recorder(batch_limit=10)
        pump = rig.pump(sink, spool)
        for _ in range(5):
            assert pump.cycle() >= 0
            rig.clock.move(1000)
        assert len(sink.sends) == 1
        spool.stuck = False
        assert pump.drain(HOUR)
        assert len(sink.accepted) == len(set(sink.accepted)) == 20


def test_a_damaged_spool_ends_the_pump(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    with Spool(path, SpoolSettings(), SetClock()) as spool:
        spool.absorb("s", batch(*(f"r{number}" for number in range(200))))
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xaa" * (len(content) - 4096)
    path.write_bytes(content)
    with Spool(path, SpoolSettings(), SetClock()) as spool, pytest.raises(SpoolCorrupt):
        Pump(spool, Recorder(), threading.Event()).run()


def test_clock_jumps_neither_stall_nor_flood(rig: Rig) -> None:
    rig.fill(20)
    away = True
    outcomes: dict[bool, Outcome] = {True: Keep(), False: Accepted()}
    sink = Recorder(lambda _: outcomes[away], batch_limit=10)
    pump = rig.pump(sink)
    for jump in (-86_400.0, 365 * 86_400.0, -365 * 86_400.0, 86_400.0):
        before = len(sink.sends)
        for _ in range(20):
            pump.cycle()
            rig.clock.move(1)
        rig.clock.move(jump)
        assert len(sink.sends) - before <= 20
    away = False
    for _ in range(600):
        pump.cycle()
        rig.clock.move(1)
    assert len(set(sink.accepted)) == len(sink.accepted) == 20


def test_two_pumps_on_one_spool_send_each_entry_once(tmp_path: Path) -> None:
    received: list[str] = []

    def take(request: Request) -> Step:
        ids = [record["record_id"] for record in json.loads(request.body)]
        received.extend(ids)
        return answer(200, json.dumps({"outcomes": [{"outcome": "new"}] * len(ids)}).encode())

    path = tmp_path / "spool.db"
    names = [f"r{number}" for number in range(300)]
    with Spool(path, SpoolSettings(), SetClock()) as spool:
        spool.absorb("s", batch(*names))

    def deliver(address: str) -> None:
        with Spool(path, SpoolSettings(), SetClock()) as spool:
            sink = open_sink(Settings(address=address, batch_limit=7))
            assert Pump(spool, sink, threading.Event()).drain(60)
            sink.close()

    with ScriptedServer(take) as server:
        threads = [threading.Thread(target=deliver, args=[server.address]) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(received) == sorted(names)
