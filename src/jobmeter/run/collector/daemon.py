"""The daemon around a job source: one loop reads into the spool, another carries the spool's entries to the server."""

from __future__ import annotations

import logging
import random
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from types import FrameType

from msgspec import Struct, structs

from jobmeter.contract import Clock, FollowingSource, JobBatch, JobSource, Sink, SourceUnreadable
from jobmeter.deliver.fault import SpoolCorrupt, SpoolUnavailable
from jobmeter.deliver.pump import Pump, PumpStats
from jobmeter.deliver.retry import Backoff
from jobmeter.deliver.settings import BackoffSettings
from jobmeter.deliver.spool import Spool
from jobmeter.model.outcome import Accepted, Outcome
from jobmeter.model.period import Period
from jobmeter.observe.host import SystemClock
from jobmeter.settings.deployment import Deployment

log = logging.getLogger("jobmeter.run")

_LONGEST_WAIT_SECONDS = 300.0
_PUMP_END_SECONDS = 40.0
_FOLLOW_SECONDS = 300.0


class Interrupted(BaseException):
    """A signal asked to stop while the source was being read. Not an Exception: no supervisor may keep it."""


class Stopper:
    """Turns SIGTERM and SIGINT into the event `stop`, and into Interrupted where waiting may take long.

    SIGHUP, which service managers send to have a log or a configuration read again, changes nothing.
    """

    def __init__(self) -> None:
        self.stop = threading.Event()
        self._interruptible = False

    @contextmanager
    def installed(self) -> Iterator[None]:
        """The handlers are in place within; afterwards those from before are."""
        before = {number: signal.signal(number, self._asked) for number in (signal.SIGTERM, signal.SIGINT)}
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Within, a signal raises Interrupted at once."""
        self._interruptible = True
        try:
            if self.stop.is_set():
                raise Interrupted
            yield
        finally:
            self._interruptible = False

    def _asked(self, number: int, _: FrameType | None) -> None:
        if not self.stop.is_set():
            log.info("collect.stopping signal=%s", signal.Signals(number).name)
        self.stop.set()
        if self._interruptible:
            self._interruptible = False
            raise Interrupted


class Tally(Struct):
    """What one reading brought: entries queued, known before, and refused."""

    queued: int = 0
    repeated: int = 0
    refused: int = 0


class Reading(Struct, frozen=True):
    """How reading goes: how often it succeeded and failed, `last` did and took, and the end of the `newest` job."""

    succeeded: int = 0
    failed: int = 0
    in_a_row: int = 0
    last: datetime | None = None
    took_seconds: float | None = None
    newest: datetime | None = None


class _Watched:
    """The sink, which notes when it last took something."""

    def __init__(self, sink: Sink, clock: Clock) -> None:
        self.batch_limit = sink.batch_limit
        self.last: datetime | None = None
        self._sink = sink
        self._clock = clock

    def send(self, items: Sequence[bytes]) -> Sequence[Outcome]:
        outcomes = self._sink.send(items)
        if any(isinstance(outcome, Accepted) for outcome in outcomes):
            self.last = self._clock.now()
        return outcomes

    def close(self) -> None:
        self._sink.close()


class Collector:
    """Reads a job source into a spool and delivers from it. Signals reach it through `stopper`."""

    def __init__(self, source: JobSource, spool: Spool, sink: Sink, deployment: Deployment, stopper: Stopper) -> None:
        self._source = source
        self._spool = spool
        self._deployment = deployment
        self._stopper = stopper
        self._failed = False
        self._clock = SystemClock()
        self._sink = _Watched(sink, self._clock)
        self._pump = Pump(spool, self._sink, stopper.stop, wait=self._wait)
        self.reading = Reading()

    @property
    def delivered(self) -> datetime | None:
        """When the sink last took something."""
        return self._sink.last

    @property
    def delivery(self) -> PumpStats:
        """How delivery goes."""
        return self._pump.stats

    def read_once(self, period: Period | None = None) -> Tally:
        """Read what is new, or a period again, into the spool.

        Raises SourceUnreadable, the faults of the spool, and Interrupted. What was absorbed before stays.
        """
        cursor = None if period is not None else self._spool.cursor(self._deployment.source)
        return self._take(self._source.read(cursor, period), again=period is not None)

    def _take(self, batches: Iterator[JobBatch], *, again: bool = False) -> Tally:
        started = time.monotonic()
        tally = Tally()
        while (batch := self._next(batches)) is not None:
            self._absorb(batch, tally, again=again)
        self.reading = structs.replace(
            self.reading,
            succeeded=self.reading.succeeded + 1,
            in_a_row=0,
            last=self._clock.now(),
            took_seconds=time.monotonic() - started,
        )
        return tally

    def drain(self, seconds: float) -> bool:
        """Deliver until the spool is empty; False when the time was over before."""
        return self._pump.drain(seconds)

    def run(self) -> bool:
        """Read and deliver until a signal. False when it ended because the spool was damaged."""
        thread = threading.Thread(target=self._deliver, name="pump", daemon=True)
        thread.start()
        try:
            self._read_on()
        except Interrupted:
            pass
        finally:
            self._stopper.stop.set()
            thread.join(_PUMP_END_SECONDS)
        return not self._failed

    def _read_on(self) -> None:
        """Read every so often. A source or spool that cannot be used now is asked again, ever less often."""
        stop, every = self._stopper.stop, self._deployment.read_every_seconds
        backoff = Backoff(
            BackoffSettings(first_seconds=every, longest_seconds=max(every, _LONGEST_WAIT_SECONDS)), random.random
        )
        failures = 0
        while not stop.is_set():
            pause = every
            try:
                if isinstance(self._source, FollowingSource):
                    pause = 0.0
                    self._take(self._source.follow(self._spool.cursor(self._deployment.source), _FOLLOW_SECONDS))
                else:
                    self.read_once()
            except (SourceUnreadable, SpoolUnavailable) as fault:
                failures += 1
                self._count_failure(failures)
                log.error("collect.unreadable failures=%d reason=%r", failures, str(fault))  # noqa: TRY400 - no bug
            except SpoolCorrupt as fault:
                log.critical("collect.spool_damaged reason=%r", str(fault))
                self._failed = True
                return
            except Exception:  # a supervisor: whatever one reading stumbles over, the next may do
                failures += 1
                self._count_failure(failures)
                log.exception("collect.reading_failed failures=%d", failures)
            else:
                if failures:
                    log.info("collect.recovered failures=%d", failures)
                failures = 0
            stop.wait(max(every, backoff.delay_seconds(failures)) if failures else pause)

    def _count_failure(self, in_a_row: int) -> None:
        self.reading = structs.replace(self.reading, failed=self.reading.failed + 1, in_a_row=in_a_row)

    def _deliver(self) -> None:
        try:
            self._pump.run()
        except SpoolCorrupt as fault:
            log.critical("collect.spool_damaged reason=%r", str(fault))
            self._failed = True
            self._stopper.stop.set()
        except Exception:  # a supervisor: without delivery the daemon must end, visibly, to be started again
            log.exception("collect.delivery_failed")
            self._failed = True
            self._stopper.stop.set()

    def _wait(self, seconds: float) -> bool:
        return self._stopper.stop.wait(max(seconds, self._deployment.send_every_seconds))

    def _next(self, batches: Iterator[JobBatch]) -> JobBatch | None:
        with self._stopper.interruptible():
            return next(batches, None)

    def _absorb(self, batch: JobBatch, tally: Tally, *, again: bool) -> None:
        done = self._spool.absorb(self._deployment.source, batch, again=again)
        ends = (record.stop_time for record in batch.records if record.stop_time is not None)
        newest = max(ends, default=None)
        if newest is not None and (self.reading.newest is None or newest > self.reading.newest):
            self.reading = structs.replace(self.reading, newest=newest)
        tally.queued += done.queued
        tally.repeated += done.repeated
        tally.refused += done.buried
        level = logging.INFO if done.queued or done.buried else logging.DEBUG
        log.log(
            level,
            "collect.batch seen=%d queued=%d repeated=%d refused=%d ignored=%s",
            batch.seen,
            done.queued,
            done.repeated,
            done.buried,
            ",".join(f"{reason.replace(' ', '_')}:{count}" for reason, count in sorted(batch.ignored.items())) or "0",
        )
        if done.buried:
            log.warning("collect.refused entries=%d first_reason=%r", done.buried, batch.refused[0].reason[:500])
