"""Reading the texts that are sacct's own: durations and moments. Every function is pure and raises Unreadable."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal

from jobmeter.observe.shape.values import Unreadable, bounded, shown

ABSENT = frozenset({"", "None", "Unknown", "None assigned"})
"""What sacct prints for a time or name that there is none of."""

_DURATION = re.compile(
    r"(?:(?P<days>[0-9]+)-(?=[0-9]+:[0-9]+:))?(?:(?P<hours>[0-9]+):)?(?P<minutes>[0-9]{1,2}):(?P<seconds>[0-9]{1,2})"
    r"(?:\.(?P<fraction>[0-9]+))?"
)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", re.ASCII)


def milliseconds(text: str) -> int:
    """A duration in milliseconds, what is finer cut off: `MM:SS.mmm`, `HH:MM:SS`, `D-HH:MM:SS`."""
    match = _DURATION.fullmatch(text)
    if match is None or len(text) > 40:
        raise Unreadable(f"{shown(text)} is not a duration")
    days, hours, minutes, seconds = (int(match[name] or 0) for name in ("days", "hours", "minutes", "seconds"))
    if seconds > 59 or minutes > 59 or (match["days"] is not None and hours > 23):
        raise Unreadable(f"{shown(text)} is not a duration")
    total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    return bounded(text, Decimal(total * 1000 + int((match["fraction"] or "")[:3].ljust(3, "0"))))


def duration_text(seconds: int, microseconds: int = 0) -> str:
    """A duration as sacct prints it: milliseconds only below one hour, and only when there are any."""
    seconds, microseconds = seconds + microseconds // 1_000_000, microseconds % 1_000_000
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days}-{hour:02}:{minute:02}:{second:02}"
    if hour or not microseconds // 1000:
        return f"{hour:02}:{minute:02}:{second:02}"
    return f"{minute:02}:{second:02}.{microseconds // 1000:03}"


def moment(text: str) -> datetime:
    """A moment printed in UTC with SLURM_TIME_FORMAT=standard."""
    if _MOMENT.fullmatch(text) is None:
        raise Unreadable(f"{shown(text)} is not a date and time")
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        raise Unreadable(f"{shown(text)} is not a date and time") from None


def moment_text(seconds: int) -> str:
    """A moment, given in seconds since 1970 UTC, as sacct prints it."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    except (ValueError, OverflowError, OSError):
        raise Unreadable(f"{seconds} is not a moment") from None
