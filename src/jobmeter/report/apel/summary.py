"""Summaries of a month: how the blocks of each site are made of totals.

A group of the totals becomes part of the block whose fields say the same; blocks are told apart by their values as a
tuple. The sums of a block are exact, and rounded half to even when they are written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal

from msgspec import Struct

from jobmeter.model.total import COUNT, AmountDimension, Dimension, Key, Measure, MetaDimension, Total
from jobmeter.report.apel.fields import ComponentField, ConstantField, Field, MetaField, rounded
from jobmeter.report.apel.message import Form, Value, benchmarked, block
from jobmeter.report.apel.plan import COLLECTOR, FIRST, LAST, RUNTIME, SUMS, Plan, Summed, Unsummable
from jobmeter.report.apel.settings import Config
from jobmeter.report.month import Month

_SECOND_US = 1_000_000


def site_of(config: Config, key: Key) -> str | None:
    """The reported site whose id stands under one of the site keys, which come first in the key."""
    ids = set(key[: len(config.auditor.site_meta_field)])
    return next((name for name, named in config.site.sites_to_report.items() if not ids.isdisjoint(named)), None)


class SiteSummary(Struct, frozen=True):
    """What one site reports of a month. `unfit` are jobs of groups whose sums lack terms; they are in no block."""

    blocks: tuple[str, ...]
    sync: tuple[str, ...]
    jobs: int
    wall_seconds: int
    cpu_seconds: int
    unfit: int


class UnfitJob(Struct, frozen=True):
    """A job that no summary can count, and what it lacks."""

    site: str
    record_id: str
    lacks: tuple[str, ...]


def jobs_by_site(config: Config, totals: Iterable[Total]) -> dict[str, int]:
    """The jobs of each reported site, from the answer to `Plan.jobs`."""
    counts = dict.fromkeys(config.site.sites_to_report, 0)
    for total in totals:
        if (site := site_of(config, total.key)) is not None:
            counts[site] += int(total.measured[0].value or 0)
    return counts


def unfit_jobs(config: Config, how: Plan, totals: Iterable[Total]) -> Iterator[UnfitJob]:
    """The jobs that a summary cannot count, from the answer to `Plan.each_job`."""
    for total in totals:
        site = site_of(config, total.key)
        measured = zip(how.needs, total.measured[1:], strict=True)
        lacks = tuple(str(need) for need, part in measured if part.counted == 0)
        if site is not None and lacks:
            yield UnfitJob(site, str(total.key[-1]), lacks)


def summaries(config: Config, how: Plan, month: Month, totals: Iterable[Total]) -> dict[str, SiteSummary]:
    """What each reported site says of the month, from the answer to `Plan.sums_of`."""
    found = {name: _Site() for name in config.site.sites_to_report}
    for total in totals:
        if (name := site_of(config, total.key)) is not None:
            found[name].add(how, total)
    return {name: site.summary(config, how, name, month) for name, site in found.items()}


class _Block:
    """The sums of one block while groups are added to it."""

    def __init__(self) -> None:
        self.jobs = 0
        self.runtime = 0
        self.first: int | None = None
        self.last: int | None = None
        self.sums: dict[str, Decimal] = dict.fromkeys(SUMS, Decimal(0))

    def add(self, how: Plan, values: Mapping[Measure, int | Decimal | None], key: Mapping[Dimension, object]) -> None:
        self.jobs += int(values[COUNT] or 0)
        self.runtime += int(values[RUNTIME] or 0)
        ends = [moment for moment in (self.first, self.last, values[FIRST], values[LAST]) if moment is not None]
        self.first, self.last = int(min(ends)), int(max(ends))
        for name, summed in how.sums.items():
            self.sums[name] += _term(summed, values[summed.measure], key)


class _Site:
    """One site's blocks while the groups of the answer are gone through."""

    def __init__(self) -> None:
        self.blocks: dict[tuple[Value, ...], _Block] = {}
        self.collectors: set[str] = set()
        self.unfit = 0

    def add(self, how: Plan, total: Total) -> None:
        key = dict(zip(how.dimensions, total.key, strict=True))
        values = {measure: part.value for measure, part in zip(how.measures, total.measured, strict=True)}
        if not _complete(how, total, key):
            self.unfit += int(values[COUNT] or 0)
            return
        collector = key.get(COLLECTOR)
        if isinstance(collector, str):
            self.collectors.add(collector)
        said = tuple(_said(field, key) for field in how.keys.values())
        self.blocks.setdefault(said, _Block()).add(how, values, key)

    def summary(self, config: Config, how: Plan, name: str, month: Month) -> SiteSummary:
        form = Form.OLD_SUMMARY if config.is_older else Form.SUMMARY
        fixed: dict[str, Value] = {"Site": name, "Month": month.number, "Year": month.year, "NodeCount": 1}
        if not config.is_older:
            fixed["InfrastructureDescription"] = _infrastructure(config.site.ce, self.collectors)
        mandatory = config.summary_fields.mandatory if config.summary_fields is not None else {}
        made: list[tuple[dict[str, Value], _Block]] = []
        for key, sums in self.blocks.items():
            said = dict(zip(how.keys, key, strict=True))
            # The newer plugin writes a mandatory field that is not there as None, and leaves an optional one out.
            told = {field: "None" if value is None and field in mandatory else value for field, value in said.items()}
            made.append(({**fixed, **{field: value for field, value in told.items() if value is not None}}, sums))
        made.sort(key=lambda each: [str(each[0].get(field, "")) for field in form.fields])
        benchmark = None if config.is_older else config.benchmark
        blocks = [block(form, {**said, **_sums(sums, benchmark)}) for said, sums in made]
        return SiteSummary(
            blocks=tuple(blocks),
            sync=tuple(_sync(made)),
            jobs=sum(sums.jobs for _, sums in made),
            wall_seconds=sum(sums.runtime for _, sums in made),
            cpu_seconds=sum(rounded(sums.sums["CpuDuration"]) for _, sums in made),
            unfit=self.unfit,
        )


def _complete(how: Plan, total: Total, key: Mapping[Dimension, object]) -> bool:
    """Whether every sum has a term of every job, and what is divided out is not zero."""
    counted = {measure: part.counted for measure, part in zip(how.measures, total.measured, strict=True)}
    amounts = (key.get(AmountDimension(each.amount_of)) for each in how.sums.values() if each.amount_of)
    return all(count >= counted[COUNT] for count in counted.values()) and all(amounts)


def _term(summed: Summed, value: int | Decimal | None, key: Mapping[Dimension, object]) -> Decimal:
    amount = 1 if summed.amount_of is None else key[AmountDimension(summed.amount_of)]
    return Decimal(value or 0) * summed.factor / summed.divisor / Decimal(str(amount))


def _said(field: Field, key: Mapping[Dimension, object]) -> Value:
    match field:
        case MetaField(name):
            text = key[MetaDimension(name)]
            return field.text_of(text if isinstance(text, str) else None)
        case ComponentField(name, divisor):
            amount = key[AmountDimension(name)]
            return rounded(Decimal(amount) / (divisor or 1)) if isinstance(amount, int) else None
        case ConstantField(value):
            return value
        case _:
            raise Unsummable(type(field).__name__)


def _sums(sums: _Block, benchmark: str | None) -> dict[str, Value]:
    normalised = {name: rounded(sums.sums[name]) for name in SUMS[1:]}
    ends = {"EarliestEndTime": sums.first, "LatestEndTime": sums.last}
    return {
        **{name: None if moment is None else moment // _SECOND_US for name, moment in ends.items()},
        "WallDuration": sums.runtime,
        "CpuDuration": rounded(sums.sums["CpuDuration"]),
        **{name: value if benchmark is None else benchmarked(benchmark, value) for name, value in normalised.items()},
        "NumberOfJobs": sums.jobs,
    }


def _sync(made: Iterable[tuple[Mapping[str, Value], _Block]]) -> Iterable[str]:
    jobs: dict[Value, int] = {}
    fixed: dict[str, Value] = {}
    for said, sums in made:
        fixed = {name: said[name] for name in ("Site", "Month", "Year")}
        host = said.get("SubmitHost")
        jobs[host] = jobs.get(host, 0) + sums.jobs
    for host, count in jobs.items():
        yield block(Form.SYNC, {**fixed, "SubmitHost": host, "NumberOfJobs": count})


def _infrastructure(ce: str, collectors: Iterable[str]) -> str:
    """Client, kind of compute element, batch systems. Without our version: a new one must change no old month."""
    names = sorted(collectors, key=str.lower)
    batch = "UNKNOWN" if not names else names[0] if len(names) == 1 else f"[{', '.join(names)}]"
    return f"jobmeter-{ce}-{batch}"
