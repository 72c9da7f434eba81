"""Which files of a sample store count. The names say it, so that no list of files can be wrong.

Logs are numbered. A segment's name has the numbers of the first and the last log that it holds: a log within a segment,
and a segment within a longer one, are left over from a crash or about to be removed, and count no more.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

RAW = "raw"
TIERS_SECONDS = (60, 3600)
"""The periods of the rollups; each has a folder of that name."""
LOCK = "writer.lock"

_SEGMENT = re.compile(r"(\d{10})-(\d{10})-(\d)\.jms")
_LOG = re.compile(r"(\d{10})\.jml")


class Span(NamedTuple):
    """A segment: it holds the logs `first` to `last`, after `level` mergers."""

    first: int
    last: int
    level: int
    path: Path


class LogFile(NamedTuple):
    """A log that no segment holds."""

    number: int
    path: Path


class Listing(NamedTuple):
    """The files that count at one instant: segments and rollups (by seconds) in order, logs in order."""

    raw: list[Span]
    tiers: dict[int, list[Span]]
    logs: list[LogFile]


def log_path(folder: Path, number: int) -> Path:
    """Where a log lies."""
    return folder / f"{number:010d}.jml"


def segment_path(folder: Path, first: int, last: int, level: int) -> Path:
    """Where a segment lies; `folder` is that of its kind."""
    return folder / f"{first:010d}-{last:010d}-{level}.jms"


def tier_folder(folder: Path, seconds: int) -> Path:
    """The folder of the rollups of a period."""
    return folder / f"{seconds}s"


def listing(folder: Path) -> Listing:
    """What counts now. Logs are looked at first: what is sealed between the two looks is then found as a segment."""
    logs = sorted(_logs(folder))
    raw = visible(_spans(folder / RAW))
    tiers = {seconds: visible(_spans(tier_folder(folder, seconds))) for seconds in TIERS_SECONDS}
    return Listing(raw, tiers, [log for log in logs if not _held(log.number, raw)])


def leftovers(folder: Path) -> list[Path]:
    """Files that count no more: logs and segments that a segment holds, and unfinished ones."""
    logs = _logs(folder)
    found = []
    for part in (folder / RAW, *(tier_folder(folder, seconds) for seconds in TIERS_SECONDS)):
        spans = _spans(part)
        kept = set(visible(spans))
        found += [span.path for span in spans if span not in kept]
        found += list(part.glob("*.new")) if part.is_dir() else []
        if part.name == RAW:
            found += [log.path for log in logs if _held(log.number, spans)]
    return found


def last_number(folder: Path) -> int:
    """The highest number in use, 0 in an empty store: numbers are never used again."""
    numbers = [log.number for log in _logs(folder)]
    for part in (folder / RAW, *(tier_folder(folder, seconds) for seconds in TIERS_SECONDS)):
        numbers += [span.last for span in _spans(part)]
    return max(numbers, default=0)


def visible(spans: Iterable[Span]) -> list[Span]:
    """The spans that lie in no other one, in order."""
    found: list[Span] = []
    for span in sorted(spans, key=lambda one: (one.first, -one.last, -one.level)):
        if not found or span.last > found[-1].last:
            found.append(span)
    return found


def overlap(span: Span, others: Sequence[Span]) -> bool:
    """Whether some other span has a log in common with this one."""
    return any(other.first <= span.last and span.first <= other.last for other in others)


def _held(number: int, spans: Sequence[Span]) -> bool:
    return any(span.first <= number <= span.last for span in spans)


def _spans(folder: Path) -> list[Span]:
    if not folder.is_dir():
        return []
    return [
        Span(int(match[1]), int(match[2]), int(match[3]), path)
        for path in folder.iterdir()
        if (match := _SEGMENT.fullmatch(path.name)) is not None
    ]


def _logs(folder: Path) -> list[LogFile]:
    return [
        LogFile(int(match[1]), path) for path in folder.iterdir() if (match := _LOG.fullmatch(path.name)) is not None
    ]
