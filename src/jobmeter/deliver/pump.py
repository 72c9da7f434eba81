"""The pump: carries entries from the spool to a sink and applies what became of them.

Two waits work side by side. An entry that was kept waits by its own back-off, while others go on; and when a whole
group was kept, the receiver is likely away, so the pump waits too and then tries with a smaller group.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct

from jobmeter.contract import Sink
from jobmeter.deliver.fault import SpoolUnavailable
from jobmeter.deliver.queue import Entry
from jobmeter.deliver.retry import Backoff
from jobmeter.deliver.settings import BackoffSettings
from jobmeter.model.outcome import Accepted, Keep, Outcome, Rejected

IDLE_SECONDS = 1.0
"""How often an idle pump looks for new entries."""

log = logging.getLogger("jobmeter.deliver")


class PumpStats(Struct, frozen=True):
    """What a pump did since it was made. `failures` counts the groups kept in a row, `reason` is why the last was."""

    sends: int = 0
    delivered: int = 0
    rejected: int = 0
    kept: int = 0
    failures: int = 0
    reason: str = ""


class Queue(Protocol):
    """What a pump empties: a spool, or an outbox. Every method raises SpoolUnavailable when it cannot be done now."""

    def due(self, limit: int) -> list[Entry]:
        """The next entries to deliver, at most `limit`; nobody else gets them meanwhile."""
        ...

    def settle(self, outcomes: Sequence[tuple[Entry, Outcome]]) -> None:
        """Write down what became of entries, durable on return."""
        ...

    def next_due_seconds(self) -> float | None:
        """Seconds until some entry is due, 0 when one is, None when there is none."""
        ...


class Pump:
    """Delivers what `spool` holds to `sink` until `stop` is set; use it from one thread.

    `wait` sleeps for some seconds or until the stop, and says whether to stop; `monotonic` gives seconds.
    """

    def __init__(  # noqa: PLR0913 - what varies in tests
        self,
        spool: Queue,
        sink: Sink,
        stop: threading.Event,
        *,
        backoff: Backoff | None = None,
        wait: Callable[[float], bool] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._spool = spool
        self._sink = sink
        self._stop = stop
        self._backoff = backoff or Backoff(BackoffSettings(), random.random)
        self._wait = wait or stop.wait
        self._monotonic = monotonic
        self._owed: list[tuple[Entry, Outcome]] = []
        self._spool_faults = 0
        self.stats = PumpStats()

    def run(self) -> None:
        """Deliver until the stop. Returns between two sends; raises SpoolCorrupt when the spool is damaged."""
        while not self._stop.is_set():
            pause = self.cycle()
            if pause > 0 and self._wait(pause):
                return

    def drain(self, seconds: float) -> bool:
        """Deliver until the spool is empty (True), or until `seconds` are over or the stop is set (False)."""
        deadline = self._monotonic() + seconds
        while not self._stop.is_set():
            pause = self.cycle()
            if not self._owed and self._is_empty():
                return True
            left = deadline - self._monotonic()
            if left <= 0 or (pause > 0 and self._wait(min(pause, left))):
                break
        return False

    def cycle(self) -> float:
        """Send one group, if one is due, and settle it. Gives the seconds to wait before the next cycle."""
        try:
            self._settle([])
            entries = self._spool.due(max(1, self._sink.batch_limit >> min(self.stats.failures, 62)))
            if not entries:
                return min(IDLE_SECONDS, self._spool.next_due_seconds() or IDLE_SECONDS)
            outcomes = self._send(entries)
            self._settle(
                [(entry, self._delayed(entry, outcome)) for entry, outcome in zip(entries, outcomes, strict=True)]
            )
        except SpoolUnavailable as fault:
            self._spool_faults += 1
            if self._spool_faults == 1:
                log.warning("pump.spool_unavailable reason=%r", fault.reason)
            return self._backoff.delay_seconds(self._spool_faults)
        return self._account(outcomes)

    def _settle(self, outcomes: Sequence[tuple[Entry, Outcome]]) -> None:
        # What could not be written down is owed and comes first the next time: nothing is sent again meanwhile.
        self._owed.extend(outcomes)
        if self._owed:
            self._spool.settle(self._owed)
            self._owed.clear()
        self._spool_faults = 0

    def _send(self, entries: Sequence[Entry]) -> Sequence[Outcome]:
        try:
            outcomes = self._sink.send([entry.body for entry in entries])
        except Exception as error:  # a supervisor: a fault of a sink must neither lose nor stop anything
            log.exception("pump.sink_failed entries=%d", len(entries))
            return [Keep(reason=f"the sink failed: {error!r}")] * len(entries)
        if len(outcomes) != len(entries):
            log.error("pump.sink_miscounted entries=%d outcomes=%d", len(entries), len(outcomes))
            return [Keep(reason="the sink gave another number of outcomes than it got entries")] * len(entries)
        return outcomes

    def _delayed(self, entry: Entry, outcome: Outcome) -> Outcome:
        if isinstance(outcome, Keep):
            return Keep(self._backoff.delay_seconds(entry.attempts + 1, outcome.delay_seconds), outcome.reason)
        return outcome

    def _account(self, outcomes: Sequence[Outcome]) -> float:
        """Count the outcomes of one send; the pause after it."""
        stats = self.stats
        kept = [outcome for outcome in outcomes if isinstance(outcome, Keep)]
        rejected = [outcome for outcome in outcomes if isinstance(outcome, Rejected)]
        failures = stats.failures + 1 if len(kept) == len(outcomes) else 0
        if failures == 1:
            log.warning("pump.kept entries=%d reason=%r", len(kept), kept[0].reason)
        elif stats.failures and not failures:
            log.info("pump.recovered failures=%d", stats.failures)
        if rejected:
            log.warning("pump.rejected entries=%d first_reason=%r", len(rejected), rejected[0].reason)
        self.stats = PumpStats(
            sends=stats.sends + 1,
            delivered=stats.delivered + sum(isinstance(outcome, Accepted) for outcome in outcomes),
            rejected=stats.rejected + len(rejected),
            kept=stats.kept + len(kept),
            failures=failures,
            reason=kept[0].reason if kept else stats.reason,
        )
        if not failures:
            return 0.0
        return self._backoff.delay_seconds(failures, max(outcome.delay_seconds for outcome in kept))

    def _is_empty(self) -> bool:
        try:
            return self._spool.next_due_seconds() is None
        except SpoolUnavailable:
            return False
