"""A month's usage: which totals are asked for, and the lines that the answers make."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction

from msgspec.structs import replace

from jobmeter.model.period import Period
from jobmeter.model.question import Bound, ComponentCondition, Op, Question, Scope
from jobmeter.model.record import microseconds
from jobmeter.model.total import COUNT, Factor, Measure, MetaDimension, Product, Span, Total, TotalQuestion
from jobmeter.report.utilization.settings import Settings
from jobmeter.report.utilization.table import Line, Power, Usage, lines

CORES, CPU, ENERGY = 1, 2, 4
"""Where these stand among the measures."""

_MILLISECONDS = 1000


def _measures(settings: Settings) -> tuple[Measure, ...]:
    names = settings.auditor.component_fields_in_record
    return (
        COUNT,
        Product((Factor(names.cores),), Span.RUNTIME),
        Product((Factor(names.total_cpu),)),
        Product((Factor(names.cores, (names.benchmark,)),), Span.RUNTIME),
        Product((Factor(names.energy),)),
    )


def question(settings: Settings, period: Period) -> TotalQuestion:
    """The sums over the jobs that ended in `period`, by name and site."""
    stop_time = (Bound(Op.GTE, microseconds(period.start)), Bound(Op.LT, microseconds(period.stop)))
    where = Question(Scope.everything(), stop_time=stop_time)
    keys = dict.fromkeys((settings.utilization.groupedby, *settings.auditor.site_meta_field, *_sites(settings)))
    return TotalQuestion(where, tuple(map(MetaDimension, keys)), _measures(settings))


def questions(settings: Settings, period: Period) -> tuple[TotalQuestion, TotalQuestion, TotalQuestion]:
    """The sums of all jobs; of those whose energy was measured; of those whose processor time and cores are known."""
    asked = question(settings, period)
    names = settings.auditor.component_fields_in_record
    return asked, _having(asked, names.energy), _having(asked, names.total_cpu, names.cores)


def following(totals: Sequence[Total], *places: int) -> Sequence[Total] | None:
    """The sums of the jobs that have a term of the measures at `places`, where they follow from those of all jobs.

    None where some jobs have one and others have none, so that it must be asked.
    """
    if all(total.measured[place].counted == total.measured[0].counted for total in totals for place in places):
        return totals
    if any(all(total.measured[place].counted == 0 for total in totals) for place in places):
        return ()
    return None


def usage_lines(
    settings: Settings, totals: Iterable[Total], measured: Iterable[Total], known: Iterable[Total]
) -> list[Line]:
    """The lines of the report, from the answers to the questions."""
    of_measured = {total.key: _sums(total)[1] for total in measured}
    of_known = {total.key: total for total in known}
    usages = [
        _usage(settings, total, of_measured.get(total.key, Fraction(0)), of_known.get(total.key)) for total in totals
    ]
    by_site = {name: watts for sites in settings.cluster.watt_per_core.values() for name, watts in sites.items()}
    power = Power(settings.utilization.watt_per_core, by_site)
    return lines(usages, settings.utilization.grouped_list, power, settings.utilization.co2_per_kwh)


def _having(asked: TotalQuestion, *components: str) -> TotalQuestion:
    """The same of those jobs alone that have these components."""
    there = tuple(ComponentCondition(name, (Bound(Op.GTE, 0),)) for name in components)
    return replace(asked, where=replace(asked.where, components=there))


def _sites(settings: Settings) -> tuple[str, ...]:
    return tuple(settings.cluster.watt_per_core)


def _usage(settings: Settings, total: Total, measured_core_seconds: Fraction, known: Total | None) -> Usage:
    jobs, cores, _, benchmarked, energy = _sums(total)
    known_jobs, known_cores, cpu, _, _ = (Fraction(0),) * 5 if known is None else _sums(known)
    divisor = _MILLISECONDS if settings.auditor.cpu_unit == "milliseconds" else 1
    name, *sites = total.key
    if settings.utilization.groupedby in (*settings.auditor.site_meta_field, *_sites(settings)):
        sites = [name, *sites]
    return Usage(
        name=None if name is None else str(name),
        site=next((str(site) for site in sites if site is not None), None),
        jobs=int(jobs),
        core_seconds=cores,
        cpu_seconds=cpu / divisor,
        benchmarked=benchmarked,
        energy_joules=energy,
        measured_core_seconds=measured_core_seconds,
        known_core_seconds=known_cores,
        known_jobs=int(known_jobs),
        scored_jobs=total.measured[3].counted,
    )


def _sums(total: Total) -> tuple[Fraction, ...]:
    return tuple(Fraction(part.value or 0) for part in total.measured)
