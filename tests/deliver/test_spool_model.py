"""The spool against a plain model of it, over random histories."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from jobmeter.contract import JobBatch, Refused
from jobmeter.deliver.fault import SpoolFull
from jobmeter.deliver.settings import SpoolSettings
from jobmeter.deliver.spool import Entry, Spool
from jobmeter.model.outcome import Accepted, Keep, Outcome, Rejected
from jobmeter.wire.auditor import decode_record, encode_record
from tests.deliver.material import SetClock, record

DAY = 86_400.0
BOUND = 3000
LEASE_SECONDS = 100.0
OUTCOMES: tuple[Outcome, ...] = (Accepted(), Rejected("no"), Keep(delay_seconds=50))

variants = st.tuples(st.sampled_from("abcdef"), st.integers(1, 2))


class SpoolMachine(RuleBasedStateMachine):
    """`waiting`, `delivered`, `buried` hold (name, variant) as the spool should; `taken` what a deliverer holds."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="jobmeter-")
        self.clock = SetClock()
        self.spool = self._opened()
        self.waiting: list[tuple[str, int]] = []
        self.buried: list[tuple[str, int]] = []
        self.latest: dict[str, int] = {}
        self.refused: set[str] = set()
        self.cursor: str | None = None
        self.taken: list[Entry] = []
        self.counted = dict.fromkeys(("collected", "repeated", "refused", "delivered", "rejected", "retried"), 0)

    def _opened(self) -> Spool:
        options = SpoolSettings(max_bytes=BOUND, reserve_bytes=0, lease_seconds=LEASE_SECONDS, seen_days=10_000)
        return Spool(Path(self.folder.name) / "spool.db", options, self.clock)

    def teardown(self) -> None:
        self.spool.close()
        self.folder.cleanup()

    @rule(
        found=st.lists(variants, max_size=5), odd=st.lists(st.sampled_from("xyz"), max_size=2), cursor=st.text("0123")
    )
    def absorb(self, found: list[tuple[str, int]], odd: list[str], cursor: str) -> None:
        latest, fresh = dict(self.latest), []
        for name, cores in found:
            if latest.get(name) != cores:
                fresh.append((name, cores))
            latest[name] = cores
        batch = JobBatch(
            tuple(record(name, cores) for name, cores in found), tuple(Refused(raw, "?") for raw in odd), cursor, 0, {}
        )
        size = sum(len(encode_record(record(*item))) for item in fresh)
        held = sum(len(encode_record(record(*item))) for item in self.waiting)
        if fresh and self.waiting and held + size > BOUND:
            with suppress(SpoolFull):
                self.spool.absorb("s", batch)
                raise AssertionError("a full spool took a batch")
            return
        absorbed = self.spool.absorb("s", batch)
        new_odd = set(odd) - self.refused
        assert (absorbed.queued, absorbed.buried) == (len(fresh), len(new_odd))
        assert absorbed.queued + absorbed.repeated == len(found)
        self.latest = latest
        self.waiting += fresh
        self.refused |= new_odd
        self.cursor = cursor or self.cursor
        self.counted["collected"] += len(fresh)
        self.counted["repeated"] += absorbed.repeated
        self.counted["refused"] += len(new_odd)

    @rule(limit=st.integers(1, 5))
    def take(self, limit: int) -> None:
        entries = self.spool.due(limit)
        assert len(entries) <= limit
        waiting = list(self.waiting)
        for entry in entries:
            waiting.remove(_item(entry.body))  # each is waiting, and none comes more often than it was queued
        self.taken += entries

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(1, len(self.taken)))
        settled, self.taken = self.taken[:number], self.taken[number:]
        outcomes: list[tuple[Entry, Outcome]] = [(entry, data.draw(st.sampled_from(OUTCOMES))) for entry in settled]
        before = self.spool.status()
        self.spool.settle(outcomes)
        after = self.spool.status()
        # An entry that was taken twice, after its lease, is settled by the first that comes.
        gone: set[int] = set()
        for entry, outcome in outcomes:
            if isinstance(outcome, Keep) or entry.number in gone | self._settled():
                continue
            gone.add(entry.number)
            self.waiting.remove(_item(entry.body))
            if isinstance(outcome, Rejected):
                self.buried.append(_item(entry.body))
            self.counted["delivered" if isinstance(outcome, Accepted) else "rejected"] += 1
        self.done = self._settled() | gone
        assert before.entries - after.entries == len(gone)

    def _settled(self) -> set[int]:
        return getattr(self, "done", set())

    @rule(number=st.integers(0, 12))
    def retry(self, number: int) -> None:
        bodies = {letter.number: letter.body for letter in self.spool.letters(1000)}
        for done in self.spool.retry([number]):
            self.buried.remove(_item(bodies[done]))
            self.waiting.append(_item(bodies[done]))
            self.counted["retried"] += 1

    @rule(seconds=st.sampled_from([0.0, 1.0, 60.0, 101.0, 7 * DAY, 365 * DAY, -1.0, -DAY, -365 * DAY]))
    def move_clock(self, seconds: float) -> None:
        self.clock.move(seconds)

    @rule()
    def reopen(self) -> None:
        self.spool.close()
        self.spool = self._opened()

    @precondition(lambda self: self.waiting)
    @rule()
    def everything_comes_due_in_the_end(self) -> None:
        wait = self.spool.next_due_seconds()
        assert wait is not None
        assert wait <= LEASE_SECONDS
        self.clock.move(wait + 0.001)
        assert self.spool.next_due_seconds() == 0
        assert self.spool.due(1) != []

    @invariant()
    def the_spool_is_as_the_model(self) -> None:
        status = self.spool.status()
        assert status.entries == len(self.waiting)
        assert status.entries_bytes == sum(len(encode_record(record(*item))) for item in self.waiting)
        assert status.letters == len(self.buried) + len(self.refused)
        assert self.spool.cursor("s") == self.cursor
        assert {name: status.counters[name] for name in self.counted} == self.counted

    @invariant()
    def nothing_is_lost(self) -> None:
        counters = self.spool.status().counters
        assert counters["collected"] + counters["retried"] == (
            counters["delivered"] + counters["rejected"] + len(self.waiting)
        )


def _item(body: bytes) -> tuple[str, int]:
    found = decode_record(body)
    return found.record_id, found.components[0].amount


TestSpoolModel = SpoolMachine.TestCase
TestSpoolModel.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
