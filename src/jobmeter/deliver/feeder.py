"""Carries what a log holds to one sample sink, at the sink's own pace.

Each sink has a feeder and a place in the log, so a slow one holds up nobody. Only what the sink keeps is offered again.
The place is written down after a `flush`, never before: after a crash some samples come again, and none is missing.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from jobmeter.contract import SampleSink
from jobmeter.deliver.complaints import Complaints
from jobmeter.deliver.log import Log, Logged
from jobmeter.deliver.retry import Backoff
from jobmeter.deliver.settings import BackoffSettings
from jobmeter.model.outcome import Keep, Outcome, Rejected
from jobmeter.model.sample import SampleBatch
from jobmeter.wire.frame import BadFrame

IDLE_SECONDS = 0.5
_FAULTS_MAX = 5

log = logging.getLogger("jobmeter.deliver")


class FeederStats(Struct):
    """What became of the samples of a log at one sink. `failures` counts vain tries in a row, `reason` says why."""

    accepted: int = 0
    rejected: int = 0
    retried: int = 0
    missed: int = 0
    failures: int = 0
    reason: str = ""
    flushed_at: float | None = None


class Pace(Struct, frozen=True):
    """How much a sink gets at once, and how often what it accepted is made durable."""

    samples_at_once: int = 1
    flush_seconds: float = 1.0


class Feeder:
    """Feeds `sink` from `log` until `stop` is set; `run` is for one thread.

    `batch_of` gives the batch of an entry, or raises BadFrame. `cursor_file` keeps the place; where there is none yet,
    feeding begins at `start`.
    """

    def __init__(  # noqa: PLR0913 - what varies between sinks and in tests
        self,
        name: str,
        sink: SampleSink,
        source: Log,
        batch_of: Callable[[Logged], SampleBatch],
        *,
        cursor_file: Path | None = None,
        start: int = 1,
        pace: Pace | None = None,
        backoff: Backoff | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.stats = FeederStats()
        self._sink = sink
        self._log = source
        self._batch_of = batch_of
        self._cursor_file = cursor_file
        self._reader = source.reader(_written(cursor_file) or start)
        self._done = self._reader.number
        self._pace = pace or Pace()
        self._backoff = backoff or Backoff(BackoffSettings(), random.random)
        self._monotonic = monotonic
        self._held: deque[SampleBatch] = deque()
        self._faults = 0
        self._due = 0.0
        self._flushed = monotonic()
        self._unflushed = False
        self._reopen = threading.Event()
        self._complaints = Complaints(log)
        self._keep_place()  # from its first moment on, what comes in is owed to this sink

    @property
    def own_counts(self) -> Mapping[str, int]:
        """What the sink counts besides what becomes of samples, by name."""
        counts: Mapping[str, int] = getattr(self._sink, "own_counts", {})
        return counts

    @property
    def done(self) -> int:
        """The number of the first entry that this sink may still need."""
        return self._done

    @property
    def behind(self) -> int:
        """How many entries of the log wait for this sink."""
        return max(0, self._log.next_number - self._done)

    def ask_reopen(self) -> None:
        """From any thread: begin new files soon."""
        self._reopen.set()
        self._log.wake()

    def run(self, stop: threading.Event, drain_seconds: float = 0.0) -> None:
        """Feed until the stop, then for at most `drain_seconds` what is left, flush, and close the sink."""
        while not stop.is_set():
            pause = self.cycle()
            if pause > 0:
                self._wait(stop, pause)
        deadline = self._monotonic() + drain_seconds
        while (self._held or self._reader.number < self._log.next_number) and self._monotonic() < deadline:
            if (pause := self.cycle()) > 0:
                time.sleep(min(pause, 0.05))
        self._flush()
        self._reader.close()
        self._sink.close()

    def cycle(self) -> float:
        """Offer one batch, if one is due. Gives the seconds to wait before the next cycle; 0: go on."""
        if self._reopen.is_set():
            self._reopen.clear()
            self._guarded("reopen", self._sink.reopen)
        now = self._monotonic()
        if self._held and now < self._due:
            return self._due - now
        if not self._held and not self._fill():
            if self._unflushed and self._is_flush_due(now):
                self._flush()
            return IDLE_SECONDS
        self._offer(self._held.popleft())
        if not self._held and self._is_flush_due(now):
            self._flush()
        return max(0.0, self._due - now) if self._held else 0.0

    def _wait(self, stop: threading.Event, seconds: float) -> None:
        if self._held:
            stop.wait(min(seconds, 1.0))
        else:
            self._log.wait(self._reader.number, seconds)

    def _fill(self) -> bool:
        taken = self._reader.take(self._pace.samples_at_once)
        if taken.skipped_entries:
            self.stats.missed += taken.skipped_weight
            log.error(
                "feeder.missed sink=%s entries=%d samples=%d", self.name, taken.skipped_entries, taken.skipped_weight
            )
        batches = []
        for entry in taken.entries:
            try:
                batches.append(self._batch_of(entry))
            except BadFrame as fault:
                self.stats.missed += entry.weight
                self._complaints.tell("feeder.unreadable", f"{self.name}: {fault}")
        if batches:
            self._held.append(merged(batches))
        return bool(taken.entries)

    def _offer(self, batch: SampleBatch) -> None:
        try:
            outcomes = self._sink.write(batch)
            fault = _miscounted(batch, outcomes)
        except OSError as error:
            outcomes, fault = [Keep(reason=str(error))] * len(batch.samples), None
        except Exception as error:  # a supervisor: a fault of a sink neither loses nor stops anything
            log.exception("feeder.sink_failed sink=%s samples=%d", self.name, len(batch.samples))
            outcomes, fault = [], f"the sink failed: {error!r}"
        self._unflushed = True
        if fault is not None:
            self._bisect(batch, fault)
        else:
            self._settle(batch, outcomes)

    def _settle(self, batch: SampleBatch, outcomes: Sequence[Outcome]) -> None:
        kept = [place for place, outcome in enumerate(outcomes) if isinstance(outcome, Keep)]
        rejected = [outcome for outcome in outcomes if isinstance(outcome, Rejected)]
        self.stats.accepted += len(outcomes) - len(kept) - len(rejected)
        self.stats.rejected += len(rejected)
        if rejected:
            self._complaints.tell("feeder.rejected", f"{self.name}: {len(rejected)} samples: {rejected[0].reason}")
        if not kept:
            if self.stats.failures:
                log.info("feeder.recovered sink=%s failures=%d", self.name, self.stats.failures)
            self.stats.failures = 0
            if not self._held:  # the other parts of a batch that was halved hold the one at fault
                self._faults = 0
            return
        self.stats.retried += len(kept)
        self._hold(SampleBatch(batch.node, tuple(batch.samples[place] for place in kept), batch.metrics))
        asked = [outcome for outcome in outcomes if isinstance(outcome, Keep)]
        self._later(asked[0].reason, max(each.delay_seconds for each in asked))

    def _bisect(self, batch: SampleBatch, fault: str) -> None:
        """A sink that stumbles gets less at once, until the one sample that it stumbles over is left, and given up."""
        self._faults += 1
        if self._faults < _FAULTS_MAX:
            self._hold(batch)
        elif len(batch.samples) > 1:
            middle = len(batch.samples) // 2
            self._hold(SampleBatch(batch.node, batch.samples[middle:], batch.metrics, batch.ends))
            self._hold(SampleBatch(batch.node, batch.samples[:middle], batch.metrics))
        else:
            self.stats.rejected += len(batch.samples)
            self._complaints.tell("feeder.given_up", f"{self.name}: {fault}")
            return
        self._later(fault, 0.0)

    def _hold(self, batch: SampleBatch) -> None:
        self._held.appendleft(batch)

    def _later(self, reason: str, asked_seconds: float) -> None:
        self.stats.failures += 1
        self.stats.reason = reason
        if self.stats.failures == 1:
            log.warning("feeder.kept sink=%s reason=%r", self.name, reason[:500])
        self._due = self._monotonic() + self._backoff.delay_seconds(self.stats.failures, asked_seconds)

    def _is_flush_due(self, now: float) -> bool:
        """Whether the sink has waited long enough: as the gatherer wishes, or as it now asks for itself."""
        return now - self._flushed >= max(self._pace.flush_seconds, getattr(self._sink, "flush_seconds", 0.0))

    def _flush(self) -> None:
        """Make durable what was accepted, and only then move the place."""
        self._flushed = self._monotonic()
        if self._held or not self._guarded("flush", self._sink.flush):
            return
        self._unflushed = False
        self.stats.flushed_at = time.time()
        self._done = self._reader.number
        self._keep_place()

    def _keep_place(self) -> None:
        if (file := self._cursor_file) is not None:
            self._guarded("cursor", lambda: _write(file, self._done))

    def _guarded(self, what: str, work: Callable[[], None]) -> bool:
        try:
            work()
        except OSError as fault:
            self.stats.reason = str(fault)
        except Exception as fault:  # a supervisor, as above: what was accepted is not durable, so its place stays
            self.stats.reason = f"the sink failed: {fault!r}"
            log.debug("feeder.sink_failed sink=%s in=%s", self.name, what, exc_info=True)
        else:
            return True
        self._complaints.tell(f"feeder.{what}_failed", f"{self.name}: {self.stats.reason}")
        return False


def merged(batches: Sequence[SampleBatch]) -> SampleBatch:
    """Several batches as one; its node is empty when they are of several."""
    if len(batches) == 1:
        return batches[0]
    nodes = {batch.node for batch in batches}
    metrics = {metric.name: metric for batch in batches for metric in batch.metrics}
    return SampleBatch(
        nodes.pop() if len(nodes) == 1 else "",
        tuple(_chained(batch.samples for batch in batches)),
        tuple(metrics.values()),
        tuple(_chained(batch.ends for batch in batches)),
    )


def _chained(parts: Iterable[tuple[object, ...]]) -> list:  # type: ignore[type-arg]
    return [item for part in parts for item in part]


def _miscounted(batch: SampleBatch, outcomes: Sequence[Outcome]) -> str | None:
    if len(outcomes) == len(batch.samples):
        return None
    return f"the sink gave {len(outcomes)} outcomes for {len(batch.samples)} samples"


def _write(file: Path, number: int) -> None:
    fresh = file.with_name(file.name + ".fresh")
    fresh.write_text(f"{number}\n", encoding="ascii")
    fresh.replace(file)


def _written(file: Path | None) -> int | None:
    try:
        return None if file is None else int(file.read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        return None
