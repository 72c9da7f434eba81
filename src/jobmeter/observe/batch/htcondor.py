"""The finished jobs of an HTCondor pool, read from the history of its schedds by `condor_history`.

A history is read from its end back to the jobs that were read last time: what stands between is new. Neither clocks nor
the order in which jobs complete matter. It comes as a stream and leaves as batches, of which only the last moves the
place: when reading breaks off, the same is read again, and the spool knows what it had.
"""

from __future__ import annotations

import argparse
import logging
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from datetime import datetime

from jobmeter.contract import JobBatch, JobSource, Refused, SourceUnreadable
from jobmeter.model.period import Period
from jobmeter.model.record import EPOCH, Record
from jobmeter.observe.host import Host
from jobmeter.observe.htcondor import flags
from jobmeter.observe.htcondor.cursor import PLACES_MAX, Cursor, CursorUnreadable, Place, cursor_of, nameable, until
from jobmeter.observe.htcondor.history import History
from jobmeter.observe.htcondor.job import Job
from jobmeter.observe.htcondor.json_form import NotLiteral
from jobmeter.observe.htcondor.last_jobs import StateUnreadable, last_jobs
from jobmeter.observe.htcondor.record import LeftOut, Shaper
from jobmeter.observe.htcondor.settings import Settings

__all__ = ["HtcondorSource", "Settings", "adjusted", "declare", "open_source"]

log = logging.getLogger("jobmeter.observe")


def open_source(settings: Settings, host: Host) -> JobSource:
    """The job source of these settings on this host."""
    return HtcondorSource(settings, host)


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the options of AUDITOR's collector to the command."""
    flags.declare(parser)


def adjusted(settings: Settings, arguments: argparse.Namespace) -> Settings:
    """The settings, with what the command's options say instead."""
    return flags.adjusted(settings, arguments)


class _Batch:
    """What was read and not yet handed on."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.refused: list[Refused] = []
        self.ignored: Counter[str] = Counter()
        self.seen = 0

    def add(self, shaped: Record | LeftOut | Refused) -> None:
        self.seen += 1
        if isinstance(shaped, Record):
            self.records.append(shaped)
        elif isinstance(shaped, Refused):
            self.refused.append(shaped)
        else:
            self.ignored[shaped.reason] += 1

    def closed(self, cursor: str) -> JobBatch:
        return JobBatch(tuple(self.records), tuple(self.refused), cursor, self.seen, dict(self.ignored))


class _Pass:
    """One way back through a history: the newest jobs met, and which of those that named the place."""

    def __init__(self) -> None:
        self.newest: list[str] = []
        self.met: set[str] = set()
        self.batch = _Batch()


class HtcondorSource:
    """A JobSource; see `jobmeter.contract`."""

    def __init__(self, settings: Settings, host: Host) -> None:
        self._settings = settings
        self._host = host
        self._history = History(settings, host)
        self._shaper = Shaper(settings)
        self._since_job = settings.since_job

    def read(self, cursor: str | None, period: Period | None = None) -> Iterator[JobBatch]:
        """Batches of jobs, the newest first. Raises SourceUnreadable when a history could not be read to its end.

        The histories that can be read are read before it is raised for the others.
        """
        reached = self._cursor(cursor) if period is None else Cursor({})
        if cursor is None and period is None:
            # Wherever the first reading breaks off, the next one begins at the same moment.
            yield JobBatch((), (), reached.text(), 0, {})
        faults = []
        for name in self._history.names:
            try:
                if period is not None:
                    yield from self._read_period(name, period, cursor or "")
                else:
                    reached = yield from self._read_new(name, reached)
            except SourceUnreadable as fault:
                faults.append(str(fault))
        if faults:
            raise SourceUnreadable("; ".join(faults))
        if period is None:
            self._since_job = None

    def _cursor(self, text: str | None) -> Cursor:
        try:
            cursor = Cursor({}) if text is None else cursor_of(text)
        except CursorUnreadable as fault:
            raise SourceUnreadable(str(fault)) from None
        known = cursor.places
        places = {name: known.get(name) or self._beginning(name) for name in self._history.names}
        if self._since_job is not None:
            places = dict.fromkeys(places, Place(EPOCH, (self._since_job,)))
        return Cursor({**known, **places})

    def _beginning(self, name: str) -> Place:
        """Where a history is begun that was never read."""
        settings = self._settings
        try:
            taken = last_jobs(self._host.path(settings.state_file), settings.record_prefix)
        except StateUnreadable as fault:
            raise SourceUnreadable(str(fault)) from None
        last = taken.get(name if settings.history_file is None else settings.schedd_names[0])
        if last is not None:
            log.info("htcondor.taking_over history=%s auditor_last_job=%s", name, last)
            return Place(settings.earliest or EPOCH, (last,))
        today = self._host.clock.now().replace(hour=0, minute=0, second=0, microsecond=0)
        first = settings.earliest or today
        log.info("htcondor.beginning history=%s from=%s", name, first.isoformat())
        return Place(first)

    def _read_new(self, name: str, cursor: Cursor) -> Generator[JobBatch, None, Cursor]:
        """What stands after the place in one history; the last batch moves the place. Returns the cursor then."""
        place = cursor.places[name]
        done = yield from self._back(name, place, until(place.newest[-1]) if place.newest else None)
        if len(place.newest) > 1 and not done.met.issuperset(place.newest[:-1]):
            log.warning("htcondor.place_not_found history=%s jobs=%s", name, ",".join(place.newest))
            yield done.batch.closed("")
            done = yield from self._back(name, place, None)
            if not done.met:
                log.warning("htcondor.jobs_may_be_missing history=%s reason='the history was rotated too soon'", name)
        after = cursor.at(name, place.moved(done.newest))
        yield done.batch.closed(after.text())
        return after

    def _back(self, name: str, place: Place, end: str | None) -> Generator[JobBatch, None, _Pass]:
        """Read back to `end`, in batches that move nothing. The last batch is not given out but returned."""

        def take(job: Job, done: _Pass) -> None:
            global_id = job.global_id
            if global_id is not None and nameable(global_id) and len(done.newest) < PLACES_MAX:
                done.newest.append(global_id)
            if global_id in place.newest:
                done.met.add(str(global_id))
                return
            done.batch.add(self._shaper.shape(job, place.first))

        return (yield from self._all(lambda: self._history.entries(name, end), take, ""))

    def _read_period(self, name: str, period: Period, cursor: str) -> Iterator[JobBatch]:
        def take(job: Job, done: _Pass) -> None:
            shaped = self._shaper.shape(job, EPOCH)
            if not isinstance(shaped, Record) or _within(shaped.stop_time, period):
                done.batch.add(shaped)

        done = yield from self._all(lambda: self._history.entries(name, None, period.start), take, cursor)
        yield done.batch.closed(cursor)

    def _all(
        self, ask: Callable[[], Iterator[Job | Refused]], take: Callable[[Job, _Pass], None], cursor: str
    ) -> Generator[JobBatch, None, _Pass]:
        """Go through what is asked for, in batches with this cursor; begin again where the form had to be changed."""
        while True:
            done = _Pass()
            try:
                for entry in ask():
                    if isinstance(entry, Refused):
                        done.batch.add(entry)
                    else:
                        take(entry, done)
                    if done.batch.seen >= self._settings.batch_records:
                        yield done.batch.closed(cursor)
                        done.batch = _Batch()
            except NotLiteral:
                continue
            except SourceUnreadable:
                yield done.batch.closed(cursor)
                raise
            return done


def _within(moment: datetime | None, period: Period) -> bool:
    return moment is not None and period.start <= moment < period.stop
