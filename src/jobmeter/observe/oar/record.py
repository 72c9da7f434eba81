"""A job becomes a record, is left out, or is refused: the configuration's rules applied to OAR's columns."""

from __future__ import annotations

from datetime import datetime

from jobmeter.contract import Refused
from jobmeter.model.job import JobIdentity
from jobmeter.model.record import MetaMap, Record
from jobmeter.observe.oar import job as oar
from jobmeter.observe.oar.job import Job
from jobmeter.observe.oar.settings import Settings
from jobmeter.observe.shape import record as shape
from jobmeter.observe.shape.record import Frame, LeftOut, Unfit
from jobmeter.observe.shape.rules import KeyType
from jobmeter.observe.shape.values import Unreadable, integer, mebibytes


class OarReading:
    """How OAR's columns are read: durations are seconds, moments are seconds since 1970."""

    def number(self, _: str, kind: KeyType, text: str) -> int | None:
        """The text as a number by its type, None for a type that is no number. Raises Unreadable."""
        if kind in {KeyType.INTEGER, KeyType.TIME}:
            return integer(text)
        return mebibytes(text) if kind is KeyType.INTEGER_MEGA else None

    def moment(self, text: str) -> datetime:
        """The moment so many seconds after 1970. Raises Unreadable."""
        if (seconds := integer(text)) <= 0:
            raise Unreadable(f"{seconds} is not a moment")
        return oar.moment(seconds)


class Shaper:
    """Makes records by one configuration. Pure: the same job gives the same record."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._shaper = shape.Shaper(settings.rules, OarReading(), "oar")

    def shape(self, job: Job) -> Record | LeftOut | Refused:
        """What becomes of a job that was read."""
        return self._shaper.outcome(job, lambda: self._shaped(job))

    def _shaped(self, job: Job) -> Record | LeftOut:
        if job.state not in oar.ENDED_STATES:
            return LeftOut("not ended")
        if not job.began:
            return LeftOut("never started")
        if not self._is_chosen(job):
            return LeftOut("not chosen by job_filter")
        if (site := self._shaper.site(job)) is None:
            return LeftOut("no site matches")
        start, stop = job.start, job.stop
        if start is None or stop is None:
            raise Unfit("ended, and has no stop_time")
        if not (user := job.text("job_user")):
            raise Unfit("the column job_user is empty")
        fixed: MetaMap = {"site_id": (site,), "user_id": (user,)}
        if project := job.text("project"):
            fixed["group_id"] = (project,)
        fixed |= {"collector_type": ("oar",), "time_unit": ("seconds",)}
        number = _id(job)
        identity = JobIdentity("oar", self._settings.cluster or "", str(number))
        frame = Frame(f"{self._settings.record_prefix}-{number}", start, stop, fixed, identity)
        return self._shaper.record(job, frame)

    def _is_chosen(self, job: Job) -> bool:
        chosen = self._settings.job_filter
        lists = {"queue_name": chosen.queue, "job_user": chosen.user, "project": chosen.project}
        return job.state in self._settings.states and all(
            not names or job.text(column) in names for column, names in lists.items()
        )


def _id(job: Job) -> int:
    number = job.number("job_id")
    if number is None or number < 1:
        raise Unfit("has no job_id")
    return number
