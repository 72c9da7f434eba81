"""The rules by which APEL's server takes or rejects a message, so that nothing is sent that it would throw away.

One bad block rejects the whole message, and the sender is not told. The rules are those of APEL's loader and of its
database: fields per type, whole numbers, times within the month, no null in a field that the table's key needs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

from msgspec import Struct

from jobmeter.report.apel.receiver import NULLS, width_of

KNOWN_BENCHMARKS = frozenset({"hepscore23", "hepspec", "si2k"})
FUTURE = timedelta(days=2)

_WHOLE = re.compile(r"[+-]?\d+")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


class Kind(Struct, frozen=True):
    """What a type of message allows: all other fields are unknown, and reject it."""

    mandatory: frozenset[str]
    whole: frozenset[str]
    times: frozenset[str] = frozenset()
    texts: frozenset[str] = frozenset()
    normalised: frozenset[str] = frozenset()
    needed: frozenset[str] = frozenset()
    """Not mandatory to the loader, but the database has no null there."""

    @property
    def known(self) -> frozenset[str]:
        """Every field."""
        return self.mandatory | self.whole | self.times | self.texts | self.normalised


_PEOPLE = frozenset({"GlobalUserName", "VO", "VOGroup", "VORole", "SubmitHost"})
_MONTH = frozenset({"Site", "Month", "Year"})
_SUMMARY = Kind(
    mandatory=_MONTH
    | {"WallDuration", "CpuDuration", "NormalisedWallDuration", "NormalisedCpuDuration", "NumberOfJobs"},
    whole=frozenset({"Month", "Year", "WallDuration", "CpuDuration", "NumberOfJobs", "NodeCount", "Processors"}),
    times=frozenset({"EarliestEndTime", "LatestEndTime"}),
    texts=_PEOPLE | {"Infrastructure", "InfrastructureDescription", "UpdateTime"},
    normalised=frozenset({"NormalisedWallDuration", "NormalisedCpuDuration"}),
    needed=frozenset({"NodeCount", "Processors"}),
)
_JOB = Kind(
    mandatory=frozenset({"Site", "LocalJobId", "WallDuration", "CpuDuration", "StartTime", "EndTime"}),
    whole=frozenset({"WallDuration", "CpuDuration", "Processors", "NodeCount", "MemoryReal", "MemoryVirtual"}),
    times=frozenset({"StartTime", "EndTime"}),
    texts=_PEOPLE
    | {"MachineName", "Queue", "LocalUserId", "FQAN", "InfrastructureDescription", "InfrastructureType"}
    | {"ServiceLevelType", "ServiceLevel"},
)
_SYNC = Kind(
    mandatory=_MONTH | {"NumberOfJobs"},
    whole=frozenset({"NumberOfJobs", "Month", "Year"}),
    texts=frozenset({"SubmitHost"}),
)
_KINDS = {
    "APEL-normalised-summary-message": _SUMMARY,
    "APEL-summary-job-message": _SUMMARY,
    "APEL-individual-job-message": _JOB,
    "APEL-sync-message": _SYNC,
}


class Fault(Struct, frozen=True):
    """Why the receiver would reject a message: the number of the block, from 0, None for the whole, and a sentence."""

    block: int | None
    reason: str


def faults(text: str, now: datetime) -> list[Fault]:
    """Everything that the receiver would reject in a message's text at the time `now`; empty when it would be taken."""
    if not text.isascii():
        return [Fault(None, "is not ASCII")]
    header, _, rest = text.partition("\n")
    name, _, version = (part.strip() for part in header.partition(":"))
    kind = _KINDS.get(name)
    if kind is None:
        return [Fault(None, f"has no known header: {header[:80]!r}")]
    found = []
    parts = [part for part in rest.split("%%") if part.strip()]
    if not parts:
        return [Fault(None, "holds no block")]
    known = kind.known
    for number, part in enumerate(parts):
        found += [Fault(number, reason) for reason in _block(part, kind, known, version == "v0.4", now)]
    return found


def _block(text: str, kind: Kind, known: frozenset[str], in_braces: bool, now: datetime) -> Iterator[str]:
    values: dict[str, str] = {}
    for line in text.strip().splitlines():
        key, colon, value = line.partition(":")
        if not colon:
            yield f"has a line without a colon: {line[:80]!r}"
            return
        if key.strip() in values:
            yield f"{key.strip()} stands twice"
        values[key.strip()] = value.strip()
    for key in sorted(values.keys() - known):
        yield f"{key} is not known to the receiver"
    given = {key: value for key, value in values.items() if value.lower() not in NULLS}
    for key in sorted((kind.mandatory | kind.needed) - given.keys()):
        yield f"{key} is missing"
    for key in sorted(kind.whole & given.keys()):
        if _WHOLE.fullmatch(given[key]) is None:
            yield f"{key} is {given[key]!r}, not a whole number"
        elif int(given[key]) < 0:
            yield f"{key} is negative"
    for key in sorted({"Site", "LocalJobId", *kind.texts} & given.keys()):
        if len(given[key]) > width_of(key):
            yield f"{key} has {len(given[key])} characters, {width_of(key)} are allowed"
    yield from _normalised(kind, given, in_braces)
    times = {key: time for key in kind.times & given.keys() if (time := _time(given[key])) is not None}
    for key in sorted(kind.times & given.keys() - times.keys()):
        yield f"{key} is {given[key]!r}, neither a whole number of seconds nor a time"
    yield from _month(given, times, now)
    yield from _job(given, times, now)


def _normalised(kind: Kind, given: Mapping[str, str], in_braces: bool) -> Iterator[str]:
    benchmarks = set()
    for key in sorted(kind.normalised & given.keys()):
        if not in_braces:
            if _WHOLE.fullmatch(given[key]) is None:
                yield f"{key} is {given[key]!r}, not a whole number"
            continue
        inner = given[key].removeprefix("{").removesuffix("}")
        if len(inner) != len(given[key]) - 2:
            yield f"{key} is {given[key]!r}, not in braces"
            continue
        pairs = [pair.partition(":") for pair in inner.split(",")]
        names = {name.strip().lower() for name, _, _ in pairs} & KNOWN_BENCHMARKS
        if not names or any(_WHOLE.fullmatch(value.strip()) is None for _, _, value in pairs):
            yield f"{key} is {given[key]!r}: no known benchmark with a whole number"
        benchmarks.add(min(names, default=""))
    if len(benchmarks) > 1:
        yield "the normalised sums are in several benchmarks"


def _time(text: str) -> datetime | None:
    try:
        if _WHOLE.fullmatch(text) is not None:
            return datetime.fromtimestamp(int(text), UTC)
        return datetime.fromisoformat(text) if _TIME.fullmatch(text) is not None else None
    except (ValueError, OverflowError, OSError):
        return None


def _month(given: Mapping[str, str], times: Mapping[str, datetime], now: datetime) -> Iterator[str]:
    texts = given.get("Year", ""), given.get("Month", "")
    if any(_WHOLE.fullmatch(text) is None for text in texts):
        return
    year, month = map(int, texts)
    if not 1 <= month <= 12 or not 1970 <= year <= 9998:
        yield f"there is no month {month} of {year}"
        return
    begin = datetime(year, month, 1, tzinfo=UTC)
    end = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)
    if begin > now:
        yield f"the month {month} of {year} is in the future"
    for key in ("EarliestEndTime", "LatestEndTime"):
        if key in times and not begin <= times[key] <= end:
            yield f"{key} is not in the month {month} of {year}"
    if "EarliestEndTime" in times and "LatestEndTime" in times and times["EarliestEndTime"] > times["LatestEndTime"]:
        yield "EarliestEndTime is after LatestEndTime"


def _job(given: Mapping[str, str], times: Mapping[str, datetime], now: datetime) -> Iterator[str]:
    if "EndTime" in times:
        if "StartTime" in times and times["EndTime"] < times["StartTime"]:
            yield "EndTime is before StartTime"
        if times["EndTime"] > now + FUTURE:
            yield "EndTime is in the future"
    kind, level = given.get("ServiceLevelType"), given.get("ServiceLevel")
    if (kind is None) != (level is None):
        yield "ServiceLevel and ServiceLevelType go together"
    if kind is not None and kind.lower() not in KNOWN_BENCHMARKS:
        yield f"ServiceLevelType is {kind!r}, not a known benchmark"
    if level is not None:
        try:
            float(level)
        except ValueError:
            yield f"ServiceLevel is {level!r}, not a number"
