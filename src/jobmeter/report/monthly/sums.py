"""The questions of a monthly report, and the exact sums that its answers make."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction

from msgspec import Struct
from msgspec.structs import replace

from jobmeter.model.question import Bound, ComponentCondition, Op, Question, Scope
from jobmeter.model.record import microseconds
from jobmeter.model.total import (
    COUNT,
    Factor,
    Key,
    MetaDimension,
    Product,
    Span,
    TimeDimension,
    TimeUnit,
    Total,
    TotalQuestion,
)
from jobmeter.report.month import Month

MONTHS = 12
"""So many months make the course, the reported one the last of them."""

_MILLISECONDS = Fraction(1000)


class Names(Struct, frozen=True):
    """What components are called in the records."""

    cores: str = "Cores"
    cpu: str = "TotalCPU"
    energy: str = "Energy"


class Sums(Struct, frozen=True):
    """Sums over jobs. `cpu_seconds` are of those jobs alone whose processor time is known, `known_core_seconds` theirs.

    `joules` are of the `energy_jobs` whose energy is known.
    """

    jobs: int = 0
    core_seconds: Fraction = Fraction(0)
    cpu_seconds: Fraction = Fraction(0)
    known_core_seconds: Fraction = Fraction(0)
    joules: Fraction = Fraction(0)
    energy_jobs: int = 0

    def plus(self, other: Sums) -> Sums:
        """Both together."""
        return Sums(*(getattr(self, name) + getattr(other, name) for name in Sums.__struct_fields__))

    @property
    def core_hours(self) -> float:
        """Hours of one core."""
        return float(self.core_seconds / 3600)

    @property
    def efficiency(self) -> float | None:
        """The part of the core hours that was used, of the jobs where that is known; None where it is of none."""
        return float(self.cpu_seconds / self.known_core_seconds) if self.known_core_seconds else None

    @property
    def kilowatt_hours(self) -> float | None:
        """Energy, None where it is known of no job."""
        return float(self.joules / 3_600_000) if self.energy_jobs else None


class Monthly(Struct, frozen=True):
    """What the report says. Names are None for jobs without one."""

    month: str
    total: Sums
    sites: dict[str | None, Sums]
    groups: dict[str | None, Sums]
    course: dict[str, Sums]


def questions(month: Month, names: Names) -> tuple[TotalQuestion, TotalQuestion, TotalQuestion, TotalQuestion]:
    """By site and group of the month: all jobs, those with processor time. By month of the course: the same two."""
    first = _before(month, MONTHS - 1)
    keys = tuple(map(MetaDimension, ("site_id", "group_id", "time_unit")))
    of_month = _question(month, month, names, keys)
    by_month = (TimeDimension(TimeUnit.MONTH), MetaDimension("time_unit"))
    of_course = _question(first, month, names, by_month)
    return of_month, _with_cpu(of_month, names), of_course, _with_cpu(of_course, names)


def monthly(month: Month, answers: tuple[list[Total], list[Total], list[Total], list[Total]]) -> Monthly:
    """The report, from the answers in the order of the questions."""
    sites: dict[str | None, Sums] = {}
    groups: dict[str | None, Sums] = {}
    total = Sums()
    for (site, group), sums in _joined(answers[0], answers[1]):
        total = total.plus(sums)
        for where, key in ((sites, site), (groups, group)):
            name = None if key is None else str(key)
            where[name] = where.get(name, Sums()).plus(sums)
    course = {str(each): Sums() for each in _before(month, MONTHS - 1).until(month)}
    for (when,), sums in _joined(answers[2], answers[3]):
        course[str(when)] = course.get(str(when), Sums()).plus(sums)
    return Monthly(str(month), total, sites, groups, course)


def _question(
    first: Month, last: Month, names: Names, keys: tuple[MetaDimension | TimeDimension, ...]
) -> TotalQuestion:
    stop_time = (
        Bound(Op.GTE, microseconds(first.period.start)),
        Bound(Op.LT, microseconds(last.period.stop)),
    )
    measures = (
        COUNT,
        Product((Factor(names.cores),), Span.RUNTIME),
        Product((Factor(names.cpu),)),
        Product((Factor(names.energy),)),
    )
    return TotalQuestion(Question(Scope.everything(), stop_time=stop_time), keys, measures)


def _with_cpu(asked: TotalQuestion, names: Names) -> TotalQuestion:
    known = tuple(ComponentCondition(name, (Bound(Op.GTE, 0),)) for name in (names.cpu, names.cores))
    return replace(asked, where=replace(asked.where, components=known))


def _joined(every: Iterable[Total], with_cpu: Iterable[Total]) -> Iterator[tuple[Key, Sums]]:
    """The sums by key without its last part, which is the unit of processor times."""
    known = {total.key: [Fraction(part.value or 0) for part in total.measured] for total in with_cpu}
    for total in every:
        count, cores, _, energy = total.measured
        _, known_cores, cpu, _ = known.get(total.key, [Fraction(0)] * 4)
        divisor = _MILLISECONDS if total.key[-1] == "milliseconds" else Fraction(1)
        yield (
            total.key[:-1],
            Sums(
                int(count.value or 0),
                Fraction(cores.value or 0),
                cpu / divisor,
                known_cores,
                Fraction(energy.value or 0),
                energy.counted,
            ),
        )


def _before(month: Month, count: int) -> Month:
    place = month.year * 12 + month.number - 1 - count
    return Month(place // 12, place % 12 + 1)
