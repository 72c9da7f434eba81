"""One entry of a schedd's history: the attributes of a job, and when it ran."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from msgspec import Struct

Value = str | int | float | bool
"""A value of a ClassAd. `undefined`, `error` and numbers that are none are absent instead."""

REMOVED = 3
"""The job status (JobStatus) of a job that was removed from the queue."""

_IDLE, _HELD = 1, 5
_GLOBAL_ID = re.compile(r"\S+#\d+\.\d+#\d+", re.ASCII)

ALWAYS = (
    "GlobalJobId", "ClusterId", "ProcId", "JobStatus", "LastJobStatus", "NumJobStarts", "LastMatchTime",
    "JobCurrentStartDate", "LastVacateTime", "CompletionDate", "EpochWriteDate", "EnteredCurrentStatus",
)  # fmt: skip
"""The attributes that are asked for whatever the configuration says."""


_ATTRIBUTE = re.compile(r"[A-Za-z_]\w*", re.ASCII)


def is_attribute(key: str) -> bool:
    """Whether a key is the name of an attribute; otherwise it is an expression."""
    return _ATTRIBUTE.fullmatch(key) is not None


def folded(key: str) -> str:
    """The key by which values are kept: ClassAds do not mind the case of an attribute's name."""
    return key.lower() if is_attribute(key) else key


class Unreadable(ValueError):  # noqa: N818 - the name says the fact
    """The entry makes no sense as a job; the message is a phrase."""


class Job(Struct, frozen=True):
    """`values` holds what was asked for, by `folded` key; `raw` is the entry as it was printed, for people."""

    values: Mapping[str, Value]
    raw: str

    def get(self, key: str) -> Value | None:
        """The value of an attribute or expression, None where it has none."""
        return self.values.get(folded(key))

    @property
    def global_id(self) -> str | None:
        """`SCHEDD#CLUSTER.PROC#SUBMITTED`, which HTCondor never gives twice, or None where the entry has none."""
        text = self.get("GlobalJobId")
        return text if isinstance(text, str) and _GLOBAL_ID.fullmatch(text) else None

    @property
    def number(self) -> str:
        """`CLUSTER.PROC`, which a schedd gives again when its queue is made anew."""
        return f"{self.get('ClusterId')}.{self.get('ProcId')}"

    @property
    def status(self) -> int | None:
        """The job's status as a number: 3 removed, 4 completed."""
        value = self.get("JobStatus")
        return value if isinstance(value, int) else None

    def start(self) -> datetime | None:
        """When the job was given the slot that it ran on last; None for one that never ran there.

        A job of the local or scheduler universe is given no slot. One that was given a slot and not started, and was
        removed then, has not run either.
        """
        if self.get("NumJobStarts") == 0 and not self._seconds("JobCurrentStartDate"):
            return None
        return self._moment("LastMatchTime")

    def stop(self, start: datetime) -> datetime | None:
        """When the job that started at `start` stopped using its slot; None when the entry does not say.

        A job that is removed while it waits, held or idle after a run, is removed long after it left the slot.
        """
        if self.status == REMOVED and self.get("LastJobStatus") in (_IDLE, _HELD):
            vacated = self._moment("LastVacateTime")
            if vacated is not None and vacated >= start:
                return vacated
        return self.ended()

    def ended(self) -> datetime | None:
        """When the job completed or was removed. HTCondor writes -1, 0 or nothing where there is no such moment."""
        found = (self._moment(name) for name in ("CompletionDate", "EpochWriteDate", "EnteredCurrentStatus"))
        return next((moment for moment in found if moment is not None), None)

    def _moment(self, name: str) -> datetime | None:
        seconds = self._seconds(name)
        if seconds is None:
            return None
        try:
            return datetime.fromtimestamp(seconds, UTC)
        except (ValueError, OverflowError, OSError):
            raise Unreadable(f"the attribute {name}: {seconds} is no moment") from None

    def _seconds(self, name: str) -> int | None:
        value = self.get(name)
        if value is None or isinstance(value, bool):
            return None
        if isinstance(value, str):
            raise Unreadable(f"the attribute {name} is a text: {value[:80]!r}")
        return int(value) if value > 0 else None
