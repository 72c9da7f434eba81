"""The job of a Slurm cluster that has just ended, read from slurmctld by `scontrol`.

Slurm calls the collector when a job ends, as EpilogSlurmctld (or in the Epilog of a node), and names the job in
SLURM_JOB_ID. There is no history to read: one reading is one job, and there is no cursor. For history there is the
source `slurm`, which makes records of the same ids.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

from jobmeter.contract import JobBatch, JobSource, Refused, SourceUnreadable
from jobmeter.model.period import Period
from jobmeter.model.record import Record
from jobmeter.observe.host import Host
from jobmeter.observe.shape.values import Unreadable
from jobmeter.observe.slurm.scontrol import NotReadable, Scontrol
from jobmeter.observe.slurm.scontrol_record import Unfit, record_of
from jobmeter.observe.slurm.scontrol_settings import JOB_VARIABLE, Settings

__all__ = ["Settings", "SlurmEpilogSource", "open_source"]

log = logging.getLogger("jobmeter.observe")


def open_source(settings: Settings, host: Host) -> JobSource:
    """The job source of these settings on this host, whose environment names the job."""
    return SlurmEpilogSource(settings, host)


class SlurmEpilogSource:
    """A JobSource; see `jobmeter.contract`."""

    def __init__(self, settings: Settings, host: Host) -> None:
        self._settings = settings
        self._host = host
        self._scontrol = Scontrol(settings, host)

    def read(self, cursor: str | None, period: Period | None = None) -> Iterator[JobBatch]:
        """The batch of the one job, whose cursor is empty. Raises SourceUnreadable when scontrol does not answer."""
        del cursor
        if period is not None:
            raise SourceUnreadable("slurmctld has no history; read a period again with the source slurm")
        number = self._host.environment.get(JOB_VARIABLE, "")
        if not (number.isascii() and number.isdigit()):
            raise SourceUnreadable(f"{JOB_VARIABLE} is not the number of a job: {number[:40]!r}")
        yield self._batch(int(number))

    def _batch(self, number: int) -> JobBatch:
        try:
            job = self._scontrol.job(number)
        except NotReadable as fault:
            return _refused(fault.raw, str(fault))
        try:
            found = record_of(job, self._settings, self._host.environment)
        except (Unfit, Unreadable) as fault:
            return _refused("\n".join(f"{key}={value}" for key, value in job.items()), str(fault))
        if isinstance(found, Record):
            return JobBatch((found,), (), "", 1, {})
        log.info("slurm_epilog.left_out job=%d reason=%r", number, found.reason)
        return JobBatch((), (), "", 1, {found.reason: 1})


def _refused(raw: str, reason: str) -> JobBatch:
    return JobBatch((), (Refused(raw, reason),), "", 1, {})
