"""A job becomes a record, is left out, or is refused: the configuration's rules applied to sacct's columns."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from jobmeter.contract import Refused
from jobmeter.model.job import JobIdentity
from jobmeter.model.record import MetaMap, Record
from jobmeter.observe.shape import record as shape
from jobmeter.observe.shape.record import Frame, LeftOut, Unfit
from jobmeter.observe.shape.rules import KeyType
from jobmeter.observe.shape.values import integer, mebibytes, size_bytes
from jobmeter.observe.slurm import values
from jobmeter.observe.slurm.columns import SIZES
from jobmeter.observe.slurm.job import Job
from jobmeter.observe.slurm.settings import Settings, TimeUnit
from jobmeter.observe.slurm.states import ENDED_STATES


class SacctReading(Struct, frozen=True):
    """How sacct's columns are read: durations in `unit`, sizes in bytes or MiB."""

    unit: TimeUnit

    def number(self, column: str, kind: KeyType, text: str) -> int | None:
        """The text as a number by its type, None for a type that is no number. Raises Unreadable."""
        if kind is KeyType.INTEGER_MEGA:
            return mebibytes(text)
        if kind is KeyType.TIME:
            spent = values.milliseconds(text)
            return spent if self.unit == "milliseconds" else spent // 1000
        if kind is KeyType.INTEGER:
            if column.lower() in SIZES and text[-1:] in "KMGTPEnc":
                return size_bytes(text.rstrip("nc"))
            return integer(text)
        return None

    def moment(self, text: str) -> datetime:
        """The moment that sacct printed. Raises Unreadable."""
        return values.moment(text)


class Shaper:
    """Makes records by one configuration. Pure: the same job gives the same record."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._shaper = shape.Shaper(settings.rules, SacctReading(settings.unit), "slurm")

    def shape(self, job: Job) -> Record | LeftOut | Refused:
        """What becomes of a job that was read."""
        if job.state not in ENDED_STATES:
            return LeftOut("not ended")
        return self._shaper.outcome(job, lambda: self._shaped(job))

    def _shaped(self, job: Job) -> Record | LeftOut:
        start, stop = job.moment("Start"), job.moment("End")
        if start is None or not job.has_started():
            return LeftOut("never started")
        if stop is None:
            return LeftOut("not ended")
        if (site := self._shaper.site(job)) is None:
            return LeftOut("no site matches")
        fixed: MetaMap = {"site_id": (site,)}
        for key, column in (("user_id", "User"), ("group_id", "Group")):
            if not (name := job.text(column)):
                raise Unfit(f"the column {column} is empty")
            fixed[key] = (name,)
        fixed["collector_type"] = ("slurm",)
        fixed["time_unit"] = (self._settings.unit,)
        # Its nodes know a task of an array by the number that sacct calls raw.
        identity = JobIdentity("slurm", self._settings.cluster or "", job.row.raw_job)
        return self._shaper.record(job, Frame(self._id(job, start), start, stop, fixed, identity))

    def _id(self, job: Job, start: datetime) -> str:
        plain = f"{self._settings.record_prefix}-{job.row.job}"
        return f"{plain}-{int(start.timestamp())}" if job.earlier else plain
