"""The finished jobs of an OAR cluster, asked of `oarstat` (OAR 2) or read in OAR's own database (OAR 2 and 3).

The cursor says up to where the accounting was read, by time of end. Every reading looks an overlap further back, and
now and then much further, because OAR sets a job's end first and its final state when the epilogue is over; the spool
knows what it had before. OAR never runs an id twice: a job that is submitted again has a new one.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Protocol

from jobmeter.contract import JobBatch, JobSource, Refused
from jobmeter.model.period import Period
from jobmeter.model.record import Record
from jobmeter.observe.history.cursor import Rhythm, shape_of
from jobmeter.observe.history.reading import History
from jobmeter.observe.host import Host
from jobmeter.observe.oar.database import Database
from jobmeter.observe.oar.job import Job
from jobmeter.observe.oar.oarstat import Oarstat
from jobmeter.observe.oar.record import Shaper
from jobmeter.observe.oar.settings import Settings
from jobmeter.observe.shape.record import LeftOut
from jobmeter.observe.shape.values import Unreadable

__all__ = ["OarSource", "Settings", "open_source"]

SETTLING = "ended too recently"

log = logging.getLogger("jobmeter.observe")


def open_source(settings: Settings, host: Host) -> JobSource:
    """The job source of these settings on this host."""
    log.info("oar.opened read_from=%s cluster=%s", settings.read_from, settings.cluster or "local")
    return OarSource(settings, host)


class _Accounting(Protocol):
    def ended(self, period: Period) -> list[Job | Refused]: ...


class OarSource:
    """A JobSource; see `jobmeter.contract`."""

    def __init__(self, settings: Settings, host: Host) -> None:
        self._settings = settings
        self._accounting: _Accounting = (Oarstat if settings.read_from == "oarstat" else Database)(settings, host)
        self._shaper = Shaper(settings)
        self._settle = timedelta(seconds=settings.settle_seconds)
        self._history = History(
            host=host,
            rhythm=_rhythm(settings),
            width=timedelta(seconds=settings.slice_seconds),
            bound="output_bytes",
            first=self._first,
            batch=self._batch,
        )

    def read(self, cursor: str | None, period: Period | None = None) -> Iterator[JobBatch]:
        """Batches of jobs, oldest first. Raises SourceUnreadable."""
        return self._history.read(cursor, period)

    def _first(self, now: datetime) -> datetime:
        first = self._settings.earliest_datetime or now
        log.info("oar.beginning from=%s", first.isoformat())
        return first

    def _batch(self, window: Period, now: datetime) -> JobBatch:
        records: list[Record] = []
        refused: list[Refused] = []
        ignored: Counter[str] = Counter()
        for entry in self._accounting.ended(window):
            shaped = self._shaped(entry, now) if isinstance(entry, Job) else entry
            if isinstance(shaped, Record):
                records.append(shaped)
            elif isinstance(shaped, Refused):
                refused.append(shaped)
            else:
                ignored[shaped.reason] += 1
        records.sort(key=lambda record: (record.stop_time or record.start_time, record.record_id))
        seen = len(records) + len(refused) + sum(ignored.values())
        return JobBatch(tuple(records), tuple(refused), "", seen, dict(ignored))

    def _shaped(self, job: Job, now: datetime) -> Record | LeftOut | Refused:
        try:
            settled = job.stop is None or job.stop <= now - self._settle
        except Unreadable as fault:
            return Refused(job.raw, str(fault))
        return self._shaper.shape(job) if settled else LeftOut(SETTLING)


def _rhythm(settings: Settings) -> Rhythm:
    return Rhythm(
        patience=timedelta(seconds=settings.settle_seconds),
        overlap=timedelta(seconds=settings.overlap_seconds),
        sweep=timedelta(seconds=settings.sweep_seconds),
        sweep_every=timedelta(seconds=settings.sweep_every_seconds),
        shape=shape_of(
            settings.record_prefix, settings.sites, settings.meta, settings.components, settings.core_property
        ),
    )
