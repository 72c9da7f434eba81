"""A job of OAR in the form that both ways of reading it give, and its columns as text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from jobmeter.observe.oar.text import mended
from jobmeter.observe.shape.values import Unreadable

ENDED_STATES = ("Terminated", "Error")
"""The states that a job never leaves (OAR 2 and 3)."""

_NUMBER_MAX = 2**63


class Resource(Struct, frozen=True):
    """A resource that a job was given: its `type`, the address of its host, and the value of the core property."""

    type: str
    host: str
    core: str


class Job(Struct, frozen=True):
    """One job. `fields` is what OAR has in its table of jobs, by the names of that table; None is absent.

    `walltime_seconds` is that of the description that ran, `events` the kinds of events that OAR logged for the job,
    `suspended_seconds` None where the way of reading does not tell.
    """

    fields: Mapping[str, Any]
    types: tuple[str, ...]
    events: frozenset[str]
    resources: tuple[Resource, ...]
    walltime_seconds: int | None
    suspended_seconds: int | None
    raw: str

    @property
    def name(self) -> str:
        """The job's id."""
        return self.text("job_id")

    @property
    def state(self) -> str:
        """The state's name."""
        return self.text("state")

    @property
    def start(self) -> datetime | None:
        """When it began, None when it never did. Raises Unreadable."""
        return self._moment("start_time")

    @property
    def stop(self) -> datetime | None:
        """When it ended, None when it never began or has not ended. Raises Unreadable."""
        return self._moment("stop_time")

    @property
    def began(self) -> bool:
        """Whether it was given resources and a start: what OAR's own accounting counts. Raises Unreadable."""
        return self.start is not None and bool(self.resources)

    @property
    def counted(self) -> tuple[Resource, ...]:
        """The resources that OAR's own accounting counts: neither licences nor disks."""
        return tuple(resource for resource in self.resources if resource.type == "default")

    def text(self, column: str) -> str:
        """The text of a column in any case, "" when it is empty, or when there is none of that name."""
        name = column.lower()
        name = ALIASES.get(name, name)
        if (derive := DERIVED.get(name)) is not None:
            return derive(self)
        return _text(self.fields.get(name)) if name in FIELDS else ""

    def number(self, field: str) -> int | None:
        """A whole number among the fields. Raises Unreadable."""
        return whole_number(self.fields.get(field), field)

    def _moment(self, field: str) -> datetime | None:
        seconds = self.number(field)
        if seconds is None or seconds <= 1:  # OAR means "none" by 0, and by 1 that a start was never noted
            return None
        return moment(seconds)


def whole_number(value: Any, name: str) -> int | None:
    """A number as Perl's JSON writes it, quoted or not; None where there is none. Raises Unreadable."""
    if value is None or value == "":
        return None
    if isinstance(value, str) and value.removeprefix("-").isdecimal() and len(value) < 20:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not -_NUMBER_MAX <= value < _NUMBER_MAX:
        raise Unreadable(f"{name} is {str(value)[:80]!r} and no whole number")
    return value


def moment(seconds: int) -> datetime:
    """The moment so many seconds after 1970. Raises Unreadable."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        raise Unreadable(f"{seconds} is not a moment") from None


def _text(value: Any) -> str:
    if isinstance(value, str):
        return mended(value)
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def _count(number: int | None) -> str:
    return "" if number is None else str(number)


def _exit_code(job: Job) -> str:
    """The code of an ordinary end: OAR keeps the status of wait(2)."""
    status = job.number("exit_code")
    return "" if status is None or status & 0x7F else str(status >> 8 & 0xFF)


def _exit_signal(job: Job) -> str:
    status = job.number("exit_code")
    return "" if status is None or not status & 0x7F else str(status & 0x7F)


def _cores(job: Job) -> int:
    """Each core once, however many resources (threads) it has; a resource without the property is a core itself."""
    known = {(resource.host, resource.core) for resource in job.counted if resource.core}
    return len(known) + sum(1 for resource in job.counted if not resource.core)


def _hosts(job: Job) -> list[str]:
    return sorted({resource.host for resource in job.counted if resource.host})


def _elapsed(job: Job) -> int | None:
    if job.start is None or job.stop is None:
        return None
    return int((job.stop - job.start).total_seconds())


def _core_seconds(job: Job) -> str:
    elapsed = _elapsed(job)
    return "" if elapsed is None else str(elapsed * _cores(job))


def _ending(job: Job) -> str:
    """How the job ended, in one word. The events are those of OAR 2's and 3's modules."""
    if job.state == "Terminated":
        return "completed" if job.number("exit_code") in {0, None} else "failed"
    if "WALLTIME" in job.events:
        return "walltime"
    if "BESTEFFORT_KILL" in job.events:
        return "preempted"
    return "deleted" if "FRAG_JOB_REQUEST" in job.events else "error"


FIELDS = frozenset(
    {
        "job_id", "array_id", "array_index", "job_name", "job_user", "job_type", "project", "queue_name", "state",
        "reservation", "message", "command", "properties", "launching_directory", "initial_request",
        "submission_time", "start_time", "stop_time", "resubmit_job_id",
    }
)  # fmt: skip
"""Columns that stand so in OAR's table of jobs."""

ALIASES = {
    "id": "job_id", "name": "job_name", "owner": "job_user", "user": "job_user", "queue": "queue_name",
    "jobtype": "job_type", "launchingdirectory": "launching_directory", "submissiontime": "submission_time",
    "starttime": "start_time", "stoptime": "stop_time", "assigned_network_address": "nodes",
    "walltime": "walltime_seconds",
}  # fmt: skip
"""The names that oarstat has for some of them, in lower case."""

DERIVED: dict[str, Callable[[Job], str]] = {
    "cores": lambda job: str(_cores(job)),
    "core_seconds": _core_seconds,
    "elapsed_seconds": lambda job: _count(_elapsed(job)),
    "ending": _ending,
    "exit_code": _exit_code,
    "exit_signal": _exit_signal,
    "hosts": lambda job: str(len(_hosts(job))),
    "nodes": lambda job: ",".join(_hosts(job)),
    "resources": lambda job: str(len(job.counted)),
    "suspended_seconds": lambda job: _count(job.suspended_seconds),
    "types": lambda job: ",".join(mended(kind) for kind in job.types),
    "wait_status": lambda job: _count(job.number("exit_code")),
    "walltime_seconds": lambda job: _count(job.walltime_seconds),
}
"""Columns that are made from several things that OAR says."""

COLUMNS = FIELDS | frozenset(DERIVED)
"""All columns, by the names that are shown."""
