"""The loop of a node: look for jobs, read the sources that are due, hand the batch over, wait for the next instant.

Instants are multiples of each source's period since 1970, so that nodes with right clocks sample together. One thread
does it all and waits for nothing but the clock and the kernel's news of jobs. A source that fails is said once, when it
begins to fail, and once when it works again; the others go on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct

from jobmeter.contract import Reading, SampleSender, SampleSource, SourceUnreadable, StirringSource
from jobmeter.model.job import JobIdentity, RunningJob
from jobmeter.model.metric import Metric
from jobmeter.model.sample import JobEnd, Sample, SampleBatch
from jobmeter.observe.ceiling import Ceiling
from jobmeter.observe.closing import COMPLETING, LastValues
from jobmeter.observe.jobs.changes import Changes
from jobmeter.observe.selfmeasure import METRICS as SELF_METRICS
from jobmeter.observe.selfmeasure import SelfMeasure

log = logging.getLogger("jobmeter.observe")

_AGES_NS = (0, 40_000_000, 200_000_000, 800_000_000, 2_000_000_000)
_NEVER = (1 << 63,)
_KNOWN_NS = 450_000_000
_FOLLOW_SECONDS = 0.02
_BETWEEN_SECONDS = 0.0005
_SELF_NS = 4_900_000_000
"""What the agent says of itself is said every five seconds at most."""

LATER_SECONDS = 60.0
"""How often it is tried to open what could not be opened before: a driver loaded, a file system mounted later."""


class Finder(Protocol):
    """What tells of the jobs: those of a node, or one alone."""

    @property
    def jobs(self) -> tuple[RunningJob, ...]:
        """The jobs as of the last look."""
        ...

    @property
    def descriptor(self) -> int | None:
        """What to wait for beside the clock, if there is anything."""
        ...

    @property
    def patience_seconds(self) -> float:
        """After how long to look again when `descriptor` says nothing."""
        ...

    def look(self, now_ns: int) -> Changes:
        """See what has come and gone."""
        ...

    def close(self) -> None:
        """Stop looking."""
        ...


class Scheduled(Struct):
    """A source with its period, and how it has fared."""

    name: str
    source: SampleSource
    period_ns: int
    next_ns: int = 0
    set_ns: int = 0
    reads: int = 0
    faults: int = 0
    spent_ns: int = 0
    failing: bool = False

    def due_ns(self, now: int) -> int:
        """When it is to be read: now, where the clock was set back since that was decided."""
        return self.next_ns if now >= self.set_ns else now

    def decide(self, now: int, stretch: int) -> None:
        """It was read; the next time is the next multiple of its period."""
        period = self.period_ns * stretch
        self.set_ns, self.next_ns = now, (now // period + 1) * period


class Stir(Struct, frozen=True):
    """How long it took to be told of ends of tasks, and how many jobs these were in."""

    seconds: float
    jobs: int


class YoungJobs:
    """When jobs that have just begun are read apart from the others, so that even a short one is known well."""

    def __init__(self) -> None:
        self._moments: dict[JobIdentity, list[int]] = {}

    def moments(self) -> list[int]:
        """The next moment for each."""
        return [moments[0] for moments in self._moments.values()]

    def due(self, now: int, changes: Changes, jobs: Sequence[RunningJob]) -> list[RunningJob]:
        """Those of the jobs that are to be read now. Those that were there before we looked are not young."""
        for job in changes.ended:
            self._moments.pop(job.identity, None)
        for job in changes.begun:
            if job.since_ns is not None:
                self._moments[job.identity] = [job.found_ns + age for age in _AGES_NS]
        if not self._moments:
            return []
        due = [job for job in jobs if self._moments.get(job.identity, _NEVER)[0] <= now]
        for job in due:
            later = [moment for moment in self._moments[job.identity] if moment > now]
            if later:
                self._moments[job.identity] = later
            else:
                del self._moments[job.identity]
        return due


class Agent:
    """What one node does. `clock_ns` gives the time since 1970 in nanoseconds, `later` opens sources that came."""

    def __init__(  # noqa: PLR0913 - what a loop is made of
        self,
        node: str,
        finder: Finder,
        sources: Sequence[Scheduled],
        sender: SampleSender,
        *,
        ceiling: Ceiling,
        clock_ns: Callable[[], int] = time.time_ns,
        later: Callable[[], Sequence[Scheduled]] = tuple,
    ) -> None:
        self.node = node
        self.finder = finder
        self.sources: tuple[Scheduled, ...] = ()
        self.sender = sender
        self.ceiling = ceiling
        self._clock_ns = clock_ns
        self._last = LastValues()
        self._young = YoungJobs()
        self.self_measure = SelfMeasure(node)
        self._told_ns = 0
        self._later = later
        self._tried = time.monotonic()
        self._add(sources)

    def _add(self, sources: Sequence[Scheduled]) -> None:
        """Have these sources, too."""
        self.sources += tuple(sources)
        self._completing = [each for each in self.sources if each.name in COMPLETING]
        self._stirring = [each.source for each in self.sources if isinstance(each.source, StirringSource)]
        self.metrics: tuple[Metric, ...] = (
            *(metric for each in self.sources for metric in each.source.metrics),
            *SELF_METRICS,
        )

    def next_ns(self) -> int:
        """When the next source is due."""
        now = self._clock_ns()
        slots = [each.due_ns(now) for each in self.sources]
        return min([*slots, *self._young.moments()], default=now + 1_000_000_000)

    def turn(self, *, everything: bool = False) -> None:
        """Look for jobs, read what is due, and hand the samples over."""
        now = self._clock_ns()
        changes = self.finder.look(now)
        samples, ends = self._ended(changes, now)
        if apart := (*changes.emptied, *self._young.due(now, changes, self.finder.jobs)):
            samples += self._read(self.sources, now, apart, Reading.SOME)
        due = [each for each in self.sources if everything or each.due_ns(now) <= now]
        if due:
            jobs = self.finder.jobs
            samples += self._read(due, now, jobs, Reading.ALL)
            for each in due:
                each.decide(now, self.ceiling.stretch)
            if everything or not 0 <= now - self._told_ns < _SELF_NS:
                self._told_ns = now
                samples += self.self_measure.samples(now, self.sources, self.sender.counts(), self.ceiling.stretch)
            self.ceiling.judge(now)
        if samples or ends:
            self.sender.offer(SampleBatch(self.node, tuple(samples), self.metrics, tuple(ends)))
        if time.monotonic() - self._tried >= LATER_SECONDS:
            self._tried = time.monotonic()
            if fresh := self._later():
                self._add(fresh)

    def stir(self) -> Stir:
        """Something was told between two readings: read the jobs where it was, so that little is unknown if they end.

        These readings are kept for the end of the job and not sent.
        """
        began = time.monotonic()
        now = self._clock_ns()
        touched: dict[JobIdentity, bool] = {}
        for each in self._stirring:
            touched.update(each.stirred())
        told = time.monotonic() - began
        jobs = [job for job in self.finder.jobs if job.identity in touched]
        known = [job for job in jobs if self._last.is_older(job.identity, now - _KNOWN_NS)]
        if known:
            self._read(self._completing, now, known, Reading.SOME)
        if ending := [job for job in jobs if touched[job.identity]]:
            self._follow(ending)
        return Stir(told, len(jobs))

    def _follow(self, jobs: Sequence[RunningJob]) -> None:
        """Read jobs whose last task is just ending until they are gone, for a few milliseconds at most.

        A task is told to end before it has given back its memory, and that takes processor time, too.
        """
        until = time.monotonic() + _FOLLOW_SECONDS
        groups = [each for each in self._completing if each.name == COMPLETING[0]]
        tasks = [each for each in self._completing if each.name == COMPLETING[1]]
        every, now = jobs, self._clock_ns()
        while jobs and time.monotonic() < until:
            found = {sample.job for sample in self._read(groups, now, jobs, Reading.SOME)}
            jobs = [job for job in jobs if job.identity in found]
            time.sleep(_BETWEEN_SECONDS)
        self._read(tasks, now, every, Reading.SOME)  # what completes a group must not be older than it

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What to wait for to call `stir`."""
        return tuple(number for each in self._stirring for number in each.descriptors)

    def finish(self) -> None:
        """Read everything once more, as the last word before the program ends."""
        self.turn(everything=True)

    def close(self) -> None:
        """Close the sources and stop looking for jobs."""
        for each in self.sources:
            each.source.close()
        self.finder.close()

    def _ended(self, changes: Changes, now: int) -> tuple[list[Sample], list[JobEnd]]:
        """What can still be said of jobs that have gone, and the news that they have."""
        if not changes.ended:
            return [], []
        final = self._read(self.sources, now, changes.ended, Reading.LAST)
        samples = []
        for job in changes.ended:
            samples += self._last.closed(job.identity, [each for each in final if each.job == job.identity], now)
        return samples, [JobEnd(job.identity, self.node, now) for job in changes.ended]

    def _read(self, due: Sequence[Scheduled], now: int, jobs: Sequence[RunningJob], reading: Reading) -> list[Sample]:
        samples: list[Sample] = []
        for each in due:
            started = time.thread_time_ns()
            try:
                read = list(each.source.read(now, jobs, reading))
            except SourceUnreadable as fault:
                each.faults += 1
                if not each.failing:
                    each.failing = True
                    log.warning("node.source_unreadable source=%s reason=%r", each.name, str(fault))
                continue
            finally:
                each.reads += 1
                each.spent_ns += time.thread_time_ns() - started
            if each.failing and read:  # that it was asked nothing proves nothing
                each.failing = False
                log.info("node.source_readable source=%s", each.name)
            samples += read
        if reading is not Reading.LAST:
            self._last.keep(samples)
        return samples
