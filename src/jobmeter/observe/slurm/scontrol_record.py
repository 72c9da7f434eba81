"""What scontrol says of a job becomes a record, or the job is left out or refused."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from msgspec import Struct

from jobmeter.model.job import JobIdentity
from jobmeter.model.record import Component, Record, Score, record_fault
from jobmeter.observe.pattern import compiled
from jobmeter.observe.shape.rules import OnlyIf
from jobmeter.observe.shape.values import Unreadable, integer, mebibytes
from jobmeter.observe.slurm import values
from jobmeter.observe.slurm.scontrol_settings import (
    CONTEXT_VARIABLE,
    END_VARIABLE,
    START_VARIABLE,
    ComponentRule,
    Settings,
)
from jobmeter.observe.slurm.states import ENDED_STATES
from jobmeter.observe.slurm.values import ABSENT

CLUSTER_VARIABLE = "SLURM_CLUSTER_NAME"

_MATCH_SECONDS = 1.0
_ENDING = "COMPLETING"
_QUEUED = frozenset({"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT"})
"""States of a job whose next run is to come."""

_AGAIN = _QUEUED | {"RUNNING", "SUSPENDED"}
"""States of a job whose next run is to come or has come, when one has ended."""


class LeftOut(Struct, frozen=True):
    """The job has not ended, or never ran."""

    reason: str


class Unfit(Exception):  # noqa: N818
    """The job cannot become a record; the message says why."""


class _Run(Struct, frozen=True):
    """The run that ended: its times, and whether Slurm has queued the job again, so that the plain id is not its."""

    start: datetime
    stop: datetime
    earlier: bool


def record_of(job: Mapping[str, str], settings: Settings, environment: Mapping[str, str]) -> Record | LeftOut:
    """The record of the run that ended, by what scontrol says of the job and what slurmctld told the epilog.

    Raises Unfit or Unreadable.
    """
    run = _run(job, environment)
    if isinstance(run, LeftOut):
        return run
    if run.earlier:  # scontrol tells of the run to come
        spent = int((run.stop - run.start).total_seconds())
        job = {**job, "RunTime": values.duration_text(max(spent, 0))}
    plain = f"{settings.record_prefix}-{identity(job)}"
    record = Record(
        record_id=f"{plain}-{int(run.start.timestamp())}" if run.earlier else plain,
        components=tuple(_component(rule, job, settings) for rule in settings.components if _holds(rule.only_if, job)),
        start_time=run.start,
        meta={
            "site_id": (settings.site_id,),
            "user_id": (_name(job, "UserId"),),
            "group_id": (_name(job, "GroupId"),),
            "collector_type": ("slurm-epilog",),
            "time_unit": (settings.unit,),
        },
        stop_time=run.stop,
        job_identity=JobIdentity("slurm", environment.get(CLUSTER_VARIABLE, ""), job["JobId"]),
    )
    if (fault := record_fault(record)) is not None:
        raise Unfit(": ".join(fault))
    return record


def identity(job: Mapping[str, str]) -> str:
    """The job's id as sacct prints it: `17`, `17_4` of an array, `17+1` of a heterogeneous job."""
    if "HetJobId" in job and "HetJobOffset" in job:
        return f"{job['HetJobId']}+{job['HetJobOffset']}"
    if "ArrayJobId" in job and "ArrayTaskId" in job:
        return f"{job['ArrayJobId']}_{job['ArrayTaskId']}"
    return job["JobId"]


def _run(job: Mapping[str, str], environment: Mapping[str, str]) -> _Run | LeftOut:
    """The run that ended.

    While the epilog runs, the state is COMPLETING and scontrol's times are those of the run; but when the job is being
    queued again they are those of the run to come: it starts now and ends at its limit, and its run time is 0. Since
    Slurm 23.02 slurmctld tells the epilog the times of the run that ended.
    """
    states = set(job["JobState"].split(","))
    start, stop = _moment(job, "StartTime"), _moment(job, "EndTime")
    told_start, told_stop = _told(environment, START_VARIABLE), _told(environment, END_VARIABLE)
    if told_start is not None and told_stop is not None:
        return _Run(told_start, told_stop, earlier=start != told_start or bool(states & _QUEUED))
    if states & _AGAIN or (_ENDING in states and _to_come(job, start, stop)):
        if states & {"PENDING", "RUNNING", "SUSPENDED"} and not _in_epilog(environment):
            return LeftOut("not ended")
        raise Unfit("the job was queued again, and scontrol no longer tells when its run began and ended; sacct does")
    if not states & {_ENDING, *ENDED_STATES}:
        return LeftOut("not ended")
    if start is None or (start == stop and "CANCELLED" in states and "Mem" not in job):
        return LeftOut("never started")
    if stop is None:
        return LeftOut("not ended")
    return _Run(start, stop, earlier=False)


def _to_come(job: Mapping[str, str], start: datetime | None, stop: datetime | None) -> bool:
    """Whether the times are those of a run to come: its run time is 0 though its end is not its start."""
    if start is None or stop is None:
        return True
    return values.milliseconds(job.get("RunTime", "00:00:00")) == 0 and start != stop


def _in_epilog(environment: Mapping[str, str]) -> bool:
    return environment.get(CONTEXT_VARIABLE, "").startswith("epilog")


def _told(environment: Mapping[str, str], name: str) -> datetime | None:
    text = environment.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) <= 11) or int(text) == 0:
        return None
    return datetime.fromtimestamp(int(text), UTC)


def _moment(job: Mapping[str, str], key: str) -> datetime | None:
    text = job.get(key, "")
    return None if text in ABSENT else values.moment(text)


def _name(job: Mapping[str, str], key: str) -> str:
    name = job.get(key, "").rpartition("(")[0]
    if not name:
        raise Unfit(f"scontrol gave no {key}")
    return name


def _holds(condition: OnlyIf | None, job: Mapping[str, str]) -> bool:
    if condition is None:
        return True
    try:
        found = compiled(condition.matches).search(job.get(condition.key, ""), timeout=_MATCH_SECONDS)
    except TimeoutError:
        raise Unfit(f"a regular expression took longer than {_MATCH_SECONDS:.0f} s") from None
    return found is not None


def _component(rule: ComponentRule, job: Mapping[str, str], settings: Settings) -> Component:
    text = job.get(rule.key)
    if text is None:
        raise Unfit(f"the component {rule.name} has no value: scontrol gave no {rule.key}")
    try:
        amount = _amount(text, settings.unit)
    except Unreadable as fault:
        raise Unfit(f"the component {rule.name} has no value: {rule.key}: {fault}") from None
    if amount < 0:
        raise Unfit(f"the component {rule.name} is negative: {amount}")
    return Component(
        rule.name, amount, tuple(Score(score.name, score.value) for score in rule.scores if _holds(score.only_if, job))
    )


def _amount(text: str, unit: str) -> int:
    """A whole number, a duration in the unit, or a size such as `200M` in MiB. Raises Unreadable."""
    if ":" in text:
        spent = values.milliseconds(text)
        return spent if unit == "milliseconds" else spent // 1000
    if text[-1:] in "KMGTPE":
        return mebibytes(text)
    return integer(text)
