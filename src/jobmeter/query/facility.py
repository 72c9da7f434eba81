"""Arithmetic of facility documents: sessions from sightings, waits from states, space without counting it twice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from typing import Any, Literal

from jobmeter.model.facility import Seen, Session, Sight, Waits

Unit = Literal["day", "week", "month"]

LONGEST_GAP = timedelta(minutes=16)
"""Hosts are observed every five minutes; three may be missed in a row before a session counts as ended."""


def spans(first: date, last: date, unit: Unit) -> Iterator[tuple[date, date]]:
    """The days, weeks (from Monday) or months that hold the days `first` to `last`, each (from, before)."""
    start = _beginning(first, unit)
    while start <= last:
        stop = _next(start, unit)
        yield start, stop
        start = stop


def _beginning(day: date, unit: Unit) -> date:
    if unit == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if unit == "month" else day


def _next(start: date, unit: Unit) -> date:
    if unit == "month":
        return (start.replace(day=28) + timedelta(days=4)).replace(day=1)
    return start + timedelta(days=7 if unit == "week" else 1)


def sessions(seen: Iterable[Seen], gap: timedelta = LONGEST_GAP) -> list[Session]:
    """The sessions in sightings that are in order of time. A user twice on a host at a moment is one session."""
    open_: dict[tuple[str, str], Session] = {}
    done = []
    for sight in seen:
        for user in set(sight.users):
            key = (user, sight.node)
            before = open_.get(key)
            if before is not None and sight.observed - before.last > gap:
                done.append(before)
                before = None
            first = sight.observed if before is None else before.first
            open_[key] = Session(user, sight.node, first, sight.observed)
    return sorted([*done, *open_.values()], key=lambda session: (session.first, session.node, session.user))


def waits(sights: Iterable[Sight]) -> Waits:
    """Waits of the jobs that were seen waiting. One that was never seen so, did not wait as long as an interval."""
    waited = []
    still = 0
    for sight in sights:
        if sight.started is None:
            still += sight.idle is not None
        elif sight.idle is not None and sight.idle < sight.started:
            waited.append((sight.started - sight.idle).total_seconds())
        else:
            waited.append(0.0)
    waited.sort()
    longest = waited[-1] if waited else None
    return Waits(len(waited), still, quantile(waited, 0.5), quantile(waited, 0.9), longest)


def quantile(ordered: Sequence[float], part: float) -> float | None:
    """The smallest value that at least this part of them does not exceed."""
    if not ordered:
        return None
    return ordered[min(len(ordered) - 1, max(0, -int(-part * len(ordered) // 1) - 1))]


def is_shared(disk: dict[str, Any]) -> bool:
    """Whether a mount is of a server (`HOST:PATH`), so that several hosts tell of the same space."""
    return ":" in str(disk.get("device", ""))


def space(disks: Iterable[dict[str, Any]]) -> dict[str, int]:
    """Bytes of all disks together, that of a server once however many hosts mount it."""
    counted: dict[tuple[str, str], dict[str, Any]] = {}
    for disk in disks:
        place = ("", str(disk["device"])) if is_shared(disk) else (str(disk["login_node"]), str(disk["mount"]))
        counted.setdefault(place, disk)
    return {key: sum(int(disk[key]) for disk in counted.values()) for key in ("total", "used", "free")}
