"""The accounting record: what one job used, and when.

Names (record ids, meta keys and values, component and score names) hold at least one visible character, no NUL,
and at most 256 extended grapheme clusters, the rule of AUDITOR since 0.7. They are kept as given: nothing is trimmed,
normalised or folded. Two bounds are ours: a name is Unicode text (no lone surrogates, which no encoding can carry), and
it has at most 4096 code points, because one cluster may otherwise hold megabytes of combining marks.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

from msgspec import Meta, Struct

from jobmeter.model.job import JobIdentity
from jobmeter.model.version import Edit

NAME_MAX_GRAPHEMES = 256
NAME_MAX_CODE_POINTS = 4096
AMOUNT_MAX = 2**63 - 1

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SECOND = timedelta(seconds=1)
_SHOWN_CODE_POINTS = 64

Name = Annotated[str, Meta(min_length=1, max_length=NAME_MAX_GRAPHEMES)]
Moment = Annotated[datetime, Meta(tz=True)]
MetaMap = dict[Name, tuple[Name, ...]]

# None of the three below can be part of a cycle. Without `gc=False` the garbage collector goes through all of a bulk
# again and again: measured, reading 40,000 records takes 13 microseconds each instead of 7.


class Score(Struct, frozen=True, gc=False):
    """A factor that weighs a component, for example a benchmark result per core. `value` is finite and not negative."""

    name: Name
    value: Annotated[float, Meta(ge=0)]


class Component(Struct, frozen=True, gc=False):
    """One accounted quantity of a job: `amount` is a whole number in the unit that the catalogue gives `name`."""

    name: Name
    amount: Annotated[int, Meta(ge=0, le=AMOUNT_MAX)]
    scores: tuple[Score, ...]


class Record(Struct, frozen=True, gc=False):
    """What one job used. Times are aware; `stop_time` is None while the job runs; `meta` None means none was given.

    `job_identity` is which job that is, as far as whoever sends the record knows. It travels with the record and is
    kept beside it: no answer has it.
    """

    record_id: Name
    components: tuple[Component, ...]
    start_time: Moment
    meta: MetaMap | None = None
    stop_time: Moment | None = None
    job_identity: JobIdentity | None = None

    @property
    def runtime_seconds(self) -> int | None:
        """Whole seconds from start to stop, the fraction cut off, or None while the job runs."""
        if self.stop_time is None:
            return None
        if self.stop_time >= self.start_time:
            return (self.stop_time - self.start_time) // _SECOND
        return -((self.start_time - self.stop_time) // _SECOND)


class RecordStop(Struct, frozen=True):
    """The news that a record's job stopped: the one change of AUDITOR's API. `edit` is kept with the change."""

    record_id: Name
    stop_time: Moment
    edit: Edit = Edit()


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970-01-01 UTC of an aware `moment`, exact."""
    since = moment - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds  # half as dear as a division


def from_microseconds(count: int) -> datetime:
    """The UTC moment `count` microseconds after 1970-01-01."""
    return EPOCH + count * _MICROSECOND


def name_fault(name: str) -> str | None:
    """Why `name` may not be stored, or None when it may."""
    if (
        len(name) <= NAME_MAX_GRAPHEMES
        and not name.isspace()
        and name
        and "\0" not in name
        and (name.isascii() or _is_text(name))
    ):
        return None
    if not name or name.isspace():
        return "is blank"
    if "\0" in name:
        return "contains the character NUL"
    if not _is_text(name):
        return "contains a lone surrogate, which is no character"
    if len(name) > NAME_MAX_CODE_POINTS:
        return f"has {len(name)} code points, {NAME_MAX_CODE_POINTS} are allowed"
    if (count := _graphemes(name)) > NAME_MAX_GRAPHEMES:
        return f"has {count} characters, {NAME_MAX_GRAPHEMES} are allowed"
    return None


def shown(name: str) -> str:
    """`name` quoted for a message: control characters escaped, and cut when it is long."""
    return repr(name) if len(name) <= _SHOWN_CODE_POINTS else f"{name[:_SHOWN_CODE_POINTS]!r}..."


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _graphemes(text: str) -> int:
    import regex  # noqa: PLC0415 - costs 15 ms, and only names longer than 256 code points need it

    return sum(1 for _ in regex.finditer(r"\X", text))


def record_fault(record: Record) -> tuple[str, str] | None:
    """The first fault that types alone do not tell: (field path, reason), or None.

    The decoder has checked types, signs and ranges before; this checks names and the order of the times.
    """
    if (reason := name_fault(record.record_id)) is not None:
        return "record_id", reason
    for key, values in (record.meta or {}).items():
        if (reason := name_fault(key)) is not None:
            return f"meta[{shown(key)}]", f"the key {reason}"
        for index, value in enumerate(values):
            if (reason := name_fault(value)) is not None:
                return f"meta[{shown(key)}][{index}]", reason
    for number, component in enumerate(record.components):
        if (reason := name_fault(component.name)) is not None:
            return f"components[{number}].name", reason
        for index, score in enumerate(component.scores):
            if (reason := name_fault(score.name)) is not None:
                return f"components[{number}].scores[{index}].name", reason
    if record.stop_time is not None and record.stop_time < record.start_time:
        return "stop_time", "is before start_time"
    return None if record.job_identity is None else _identity_fault(record.job_identity)


def _identity_fault(job: JobIdentity) -> tuple[str, str] | None:
    for name, text in (("manager", job.manager), ("cluster", job.cluster or "-"), ("job", job.job)):
        if (reason := name_fault(text)) is not None:
            return f"job_identity.{name}", reason
    return None if 0 <= job.run <= AMOUNT_MAX else ("job_identity.run", "is no number of a run")
