"""The finished jobs of a Slurm cluster, read from its accounting by `sacct`.

The cursor says up to where the accounting was read. Every reading looks an overlap further back, and now and then much
further, because slurmdbd may store a job long after it ended; the spool knows what it had before. A long time is read
in slices, each a batch of its own.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta

from jobmeter.contract import JobBatch, JobSource, Refused, SourceUnreadable
from jobmeter.model.period import Period
from jobmeter.model.record import Record
from jobmeter.observe.history.cursor import Rhythm, shape_of
from jobmeter.observe.history.reading import History
from jobmeter.observe.host import Host
from jobmeter.observe.lastcheck import StateUnreadable, resume_from
from jobmeter.observe.shape.values import Unreadable
from jobmeter.observe.slurm.job import Job, doubtful, gather, with_earlier_runs_marked
from jobmeter.observe.slurm.record import Shaper
from jobmeter.observe.slurm.sacct import Sacct
from jobmeter.observe.slurm.settings import Settings

__all__ = ["Settings", "SlurmSource", "open_source"]

SETTLING = "ended too recently"

_STEPS_SECONDS = 300
"""How long a job whose steps are not all stored as ended is waited for, beyond the time that every job is given."""

log = logging.getLogger("jobmeter.observe")


def open_source(settings: Settings, host: Host) -> JobSource:
    """The job source of these settings on this host."""
    log.info("slurm.opened time_unit=%s cluster=%s", settings.unit, settings.cluster or "local")
    return SlurmSource(settings, host)


class SlurmSource:
    """A JobSource; see `jobmeter.contract`."""

    def __init__(self, settings: Settings, host: Host) -> None:
        self._settings = settings
        self._host = host
        self._sacct = Sacct(settings, host)
        self._shaper = Shaper(settings)
        self._settle = timedelta(seconds=settings.settle_seconds)
        self._history = History(
            host=host,
            rhythm=_rhythm(settings),
            width=timedelta(seconds=settings.slice_seconds),
            bound="sacct_output_bytes",
            first=self._first,
            batch=self._batch,
        )

    def read(self, cursor: str | None, period: Period | None = None) -> Iterator[JobBatch]:
        """Batches of jobs, oldest first. Raises SourceUnreadable."""
        return self._history.read(cursor, period)

    def _first(self, now: datetime) -> datetime:
        """Where a collector that has no cursor begins: where AUDITOR's collector had come to, or as told, or now."""
        try:
            imported = resume_from(self._host.path(self._settings.state_file))
        except StateUnreadable as fault:
            raise SourceUnreadable(str(fault)) from None
        if imported is not None:
            first = imported - timedelta(seconds=self._settings.overlap_seconds)
            log.info("slurm.taking_over auditor_lastcheck=%s from=%s", imported.isoformat(), first.isoformat())
        else:
            first = self._settings.earliest_datetime or now
            log.info("slurm.beginning from=%s", first.isoformat())
        return first

    def _batch(self, window: Period, now: datetime) -> JobBatch:
        jobs, refused = gather(self._sacct.ended(window))
        jobs = [job for job in jobs if _within(job, window)]
        ignored: Counter[str] = Counter()
        settled = [job for job in jobs if self._settled(job, now)]
        if len(settled) < len(jobs):
            ignored[SETTLING] = len(jobs) - len(settled)
        records: list[Record] = []
        for job in self._with_runs(settled):
            shaped = self._shaper.shape(job)
            if isinstance(shaped, Record):
                records.append(shaped)
            elif isinstance(shaped, Refused):
                refused.append(shaped)
            else:
                ignored[shaped.reason] += 1
        records.sort(key=lambda record: (record.stop_time or record.start_time, record.record_id))
        seen = len(records) + len(refused) + sum(ignored.values())
        return JobBatch(tuple(records), tuple(refused), "", seen, dict(ignored))

    def _settled(self, job: Job, now: datetime) -> bool:
        """Whether all that belongs to the job is stored by now: its last steps come after the job itself."""
        patience = self._settle
        if job.steps_run_on() and patience:
            patience += timedelta(seconds=_STEPS_SECONDS)
        try:
            end = job.moment("End")
        except Unreadable:
            return True
        return end is None or end <= now - patience

    def _with_runs(self, jobs: list[Job]) -> list[Job]:
        unsure = sorted({job.row.raw_job for job in doubtful(jobs, self._settle)}, key=int)
        return with_earlier_runs_marked(jobs, self._sacct.runs(unsure) if unsure else (), self._settle)


def _within(job: Job, window: Period) -> bool:
    """Whether the job ended in the window. One whose end cannot be read is looked at, to be refused."""
    try:
        end = job.moment("End")
    except Unreadable:
        return True
    return end is None or window.start <= end < window.stop


def _rhythm(settings: Settings) -> Rhythm:
    return Rhythm(
        patience=timedelta(seconds=settings.settle_seconds + _STEPS_SECONDS),
        overlap=timedelta(seconds=settings.overlap_seconds),
        sweep=timedelta(seconds=settings.sweep_seconds),
        sweep_every=timedelta(seconds=settings.sweep_every_seconds),
        shape=shape_of(settings.record_prefix, settings.sites, settings.meta, settings.components, settings.unit),
    )
