"""A month's usage: which totals are asked for, and the lines that the answers make."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from msgspec.structs import replace

from jobmeter.model.period import Period
from jobmeter.model.question import Bound, ComponentCondition, Op, Question, Scope
from jobmeter.model.record import microseconds
from jobmeter.model.total import COUNT, Factor, Measure, MetaDimension, Product, Span, Total, TotalQuestion
from jobmeter.report.utilization.settings import Settings
from jobmeter.report.utilization.table import Line, Power, Usage, lines

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


def measured_question(settings: Settings, period: Period) -> TotalQuestion:
    """The same over those jobs alone whose energy was measured."""
    asked = question(settings, period)
    energy = settings.auditor.component_fields_in_record.energy
    there = (ComponentCondition(energy, (Bound(Op.GTE, 0),)),)
    return replace(asked, where=replace(asked.where, components=there))


def usage_lines(settings: Settings, totals: Iterable[Total], measured: Iterable[Total]) -> list[Line]:
    """The lines of the report, from the answers to both questions."""
    of_measured = {total.key: _sums(total)[1] for total in measured}
    usages = [_usage(settings, total, of_measured.get(total.key, Fraction(0))) for total in totals]
    by_site = {name: watts for sites in settings.cluster.watt_per_core.values() for name, watts in sites.items()}
    power = Power(settings.utilization.watt_per_core, by_site)
    return lines(usages, settings.utilization.grouped_list, power, settings.utilization.co2_per_kwh)


def _sites(settings: Settings) -> tuple[str, ...]:
    return tuple(settings.cluster.watt_per_core)


def _usage(settings: Settings, total: Total, measured_core_seconds: Fraction) -> Usage:
    jobs, cores, cpu, benchmarked, energy = _sums(total)
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
    )


def _sums(total: Total) -> tuple[Fraction, ...]:
    return tuple(Fraction(part.value or 0) for part in total.measured)
