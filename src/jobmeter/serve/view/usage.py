"""What users, groups and sites used, month by month: from groups of totals to the rows of a page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from msgspec import Struct

from jobmeter.report.month import Month
from jobmeter.serve.parameters import BadParameter, Parameters
from jobmeter.serve.view.selection import FACETS
from jobmeter.serve.view.sums import Sums, Values, sums_of

MONTHS_DEFAULT = 12
MONTHS_MAX = 120
ROWS_MAX = 100
YEARS = (1970, 9000)

ORDERS = ("core_hours", "jobs", "efficiency", "energy", "wall", "name")

Groups = Iterable[tuple[Sequence[str | int | None], Values]]


class Months(Struct, frozen=True):
    """From the first to the last month, both in."""

    first: Month
    last: Month

    @property
    def filters(self) -> str:
        """The jobs that ended in these months, in the filter language."""
        begin, end = self.first.period.start, self.last.period.stop
        return f"stop_time[gte]={begin:%Y-%m-%dT%H:%M:%SZ}&stop_time[lt]={end:%Y-%m-%dT%H:%M:%SZ}"

    @property
    def all(self) -> list[str]:
        """The months by name, the newest first."""
        return [str(month) for month in self.first.until(self.last)][::-1]


class Usage(Struct, frozen=True):
    """What one of them used; `name` None: the jobs that name none."""

    name: str | None
    sums: Sums


def months_of(given: Parameters, now: datetime) -> Months:
    """The months `from` and `to` of an address, by default the last twelve. Raises BadParameter."""
    last = _month(given, "to") or Month.of(now)
    first = _month(given, "from") or _back(last, MONTHS_DEFAULT - 1)
    length = (last.year - first.year) * 12 + last.number - first.number + 1
    if not 1 <= length <= MONTHS_MAX:
        raise BadParameter("from", f"is not before the end, or more than {MONTHS_MAX} months before it")
    return Months(first, last)


def by_name(groups: Groups) -> list[Usage]:
    """Groups by (newer key, older key): one for each name, whichever of the keys has it."""
    found: dict[str | None, Sums] = {}
    for key, values in groups:
        name = _name(key)
        found[name] = found.get(name, Sums()).plus(sums_of(values))
    return [Usage(name, sums) for name, sums in found.items()]


def by_month(groups: Groups, months: Months) -> list[Usage]:
    """Groups by (…, month): one for each month, the newest first, also for those without a job."""
    found: dict[str, Sums] = {}
    for key, values in groups:
        month = str(key[-1])
        found[month] = found.get(month, Sums()).plus(sums_of(values))
    return [Usage(month, found.get(month, Sums())) for month in months.all]


def whose(name: str, newer: Groups, older: Groups) -> list[tuple[Sequence[str | int | None], Values]]:
    """The groups of one user, group or site out of those found under the newer and under the older key.

    A record that has both keys is found twice, and counts under the newer one.
    """
    return [
        *((key, values) for key, values in newer if key[0] == name),
        *((key, values) for key, values in older if key[0] is None and key[1] == name),
    ]


def in_order(found: Iterable[Usage], order: str) -> list[Usage]:
    """The largest first; by name from A on. What is not known comes last."""
    if order == "name":
        return sorted(found, key=lambda one: (one.name is None, one.name or ""))
    return sorted(found, key=lambda one: (_measure(one.sums, order) is None, -(_measure(one.sums, order) or 0)))


def together(found: Iterable[Usage]) -> Sums:
    """All of them."""
    whole = Sums()
    for one in found:
        whole = whole.plus(one.sums)
    return whole


def keys_text(kind: str) -> str:
    """Both meta keys of a kind as `group_by` has them."""
    return ",".join(FACETS[kind])


def bars(found: Sequence[Usage]) -> Mapping[str | None, float]:
    """For each name its core-hours as a part of the largest, from 0 to 1."""
    most = max((one.sums.core_seconds or 0 for one in found), default=0)
    return {one.name: (one.sums.core_seconds or 0) / most if most else 0.0 for one in found}


def _measure(sums: Sums, order: str) -> float | None:
    return {
        "core_hours": sums.core_seconds,
        "jobs": sums.jobs,
        "efficiency": sums.efficiency,
        "energy": sums.joules,
        "wall": sums.wall_seconds,
    }[order]


def _name(key: Sequence[str | int | None]) -> str | None:
    return next((str(part) for part in key[:2] if part is not None), None)


def _month(given: Parameters, name: str) -> Month | None:
    text = given.text(name)
    if text is None:
        return None
    try:
        found = Month.parse(text)
    except ValueError:
        found = None
    if found is None or not YEARS[0] <= found.year <= YEARS[1]:
        raise BadParameter(name, "is no month such as 2026-01")
    return found


def _back(month: Month, count: int) -> Month:
    index = month.year * 12 + month.number - 1 - count
    return Month(index // 12, index % 12 + 1)
