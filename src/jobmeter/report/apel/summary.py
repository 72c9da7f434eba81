"""Summaries of a month: how the blocks of each site are made of totals.

A group of the totals becomes part of the block whose fields say the same to the receiver; blocks are told apart by
their values as a tuple. The sums of a block are exact, and rounded half to even when they are written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal

from msgspec import Struct

from jobmeter.model.total import COUNT, AmountDimension, Dimension, Key, MetaDimension, Total
from jobmeter.report.apel.fields import ComponentField, ConstantField, Field, MetaField, rounded
from jobmeter.report.apel.message import Form, benchmarked, block
from jobmeter.report.apel.plan import COLLECTOR, FIRST, LAST, RUNTIME, SUMS, Plan, Summed, Unsummable
from jobmeter.report.apel.receiver import Value, alike
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
    divisors = how.divisors
    for total in totals:
        site = site_of(config, total.key)
        measured = list(zip(how.needs, total.measured[1:], strict=True))
        lacks = tuple(str(need) for need, part in measured if part.counted == 0)
        lacks += tuple(
            f"amount of the {need}, it is 0"
            for need, part in measured
            if need.score is None and need.component in divisors and part.counted and not part.value
        )
        if site is not None and lacks:
            yield UnfitJob(site, str(total.key[-1]), lacks)


def summaries(config: Config, how: Plan, month: Month, totals: Iterable[Total]) -> dict[str, SiteSummary]:
    """What each reported site says of the month, from the answer to `Plan.sums_of`."""
    found = {name: _Site() for name in config.site.sites_to_report}
    reading = _Reading(how)
    for total in totals:
        if (name := site_of(config, total.key)) is not None:
            found[name].add(reading, total)
    return {name: site.summary(config, how, name, month) for name, site in found.items()}


class _Reading:
    """Where in a group of the answer stands what; what is made of a text is made once."""

    def __init__(self, how: Plan) -> None:
        at = {measure: place for place, measure in enumerate(how.measures)}
        place_of = {dimension: place for place, dimension in enumerate(how.dimensions)}
        self.jobs, self.runtime, self.first, self.last = at[COUNT], at[RUNTIME], at[FIRST], at[LAST]
        self.sums = [
            (name, at[summed.measure], summed, place_of.get(AmountDimension(summed.amount_of or "")))
            for name, summed in how.sums.items()
        ]
        self.collector = place_of.get(COLLECTOR)
        self._fields = [
            (field, _place(field, place_of), dict[object, tuple[Value, Value]]()) for field in how.keys.values()
        ]

    def is_complete(self, total: Total) -> bool:
        """Whether every sum has a term of every job, and what is divided out is not zero."""
        jobs = total.measured[self.jobs].counted
        return all(part.counted >= jobs for part in total.measured) and all(
            total.key[place] for _, _, _, place in self.sums if place is not None
        )

    def said(self, key: Key) -> tuple[tuple[Value, ...], tuple[Value, ...]]:
        """The values of the fields that divide into blocks, and what the receiver tells them apart by."""
        found = []
        for field, place, known in self._fields:
            given = None if place is None else key[place]
            if given not in known:
                value = _said(field, given)
                known[given] = (value, alike(value))
            found.append(known[given])
        return tuple(value for value, _ in found), tuple(same for _, same in found)


class _Block:
    """The sums of one block while groups are added to it, and what its fields say, in one way of writing it."""

    def __init__(self, said: tuple[Value, ...]) -> None:
        self.said = said
        self.jobs = 0
        self.runtime = 0
        self.first: int | None = None
        self.last: int | None = None
        self.sums: dict[str, Decimal] = dict.fromkeys(SUMS, Decimal(0))

    def add(self, reading: _Reading, said: tuple[Value, ...], total: Total) -> None:
        measured = total.measured
        self.said = min(self.said, said, key=repr)
        self.jobs += int(measured[reading.jobs].value or 0)
        self.runtime += int(measured[reading.runtime].value or 0)
        told = (self.first, self.last, measured[reading.first].value, measured[reading.last].value)
        ends = [moment for moment in told if moment is not None]
        self.first, self.last = int(min(ends)), int(max(ends))
        for name, at, summed, place in reading.sums:
            self.sums[name] += _term(summed, measured[at].value, 1 if place is None else total.key[place])


class _Site:
    """One site's blocks while the groups of the answer are gone through."""

    def __init__(self) -> None:
        self.blocks: dict[tuple[Value, ...], _Block] = {}
        self.collectors: set[str] = set()
        self.unfit = 0

    def add(self, reading: _Reading, total: Total) -> None:
        if not reading.is_complete(total):
            self.unfit += int(total.measured[reading.jobs].value or 0)
            return
        if reading.collector is not None and isinstance(collector := total.key[reading.collector], str):
            self.collectors.add(collector)
        said, key = reading.said(total.key)
        block = self.blocks.get(key)
        if block is None:
            block = self.blocks[key] = _Block(said)
        block.add(reading, said, total)

    def summary(self, config: Config, how: Plan, name: str, month: Month) -> SiteSummary:
        form = Form.OLD_SUMMARY if config.is_older else Form.SUMMARY
        fixed: dict[str, Value] = {"Site": name, "Month": month.number, "Year": month.year, "NodeCount": 1}
        if not config.is_older:
            fixed["InfrastructureDescription"] = _infrastructure(config.site.ce, self.collectors)
        mandatory = config.summary_fields.mandatory if config.summary_fields is not None else {}
        made: list[tuple[dict[str, Value], _Block]] = []
        for sums in self.blocks.values():
            said = dict(zip(how.keys, sums.said, strict=True))
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


def _term(summed: Summed, value: int | Decimal | None, amount: object) -> Decimal:
    term = Decimal(value or 0) * summed.factor
    divisor = summed.divisor * (amount if isinstance(amount, int) else 1)
    return term if divisor == 1 else term / divisor


def _place(field: Field, place_of: Mapping[Dimension, int]) -> int | None:
    """Where in a key that stands what a field is made of."""
    match field:
        case MetaField(name):
            return place_of[MetaDimension(name)]
        case ComponentField(name):
            return place_of[AmountDimension(name)]
        case _:
            return None


def _said(field: Field, given: object) -> Value:
    match field:
        case MetaField():
            return field.text_of(given if isinstance(given, str) else None)
        case ComponentField(_, divisor):
            return rounded(Decimal(given) / (divisor or 1)) if isinstance(given, int) else None
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
    hosts: dict[Value, Value] = {}
    fixed: dict[str, Value] = {}
    for said, sums in made:
        fixed = {name: said[name] for name in ("Site", "Month", "Year")}
        host = said.get("SubmitHost")
        key = alike(host)
        hosts[key] = min(hosts.get(key, host), host, key=repr)
        jobs[key] = jobs.get(key, 0) + sums.jobs
    for key, count in jobs.items():
        yield block(Form.SYNC, {**fixed, "SubmitHost": hosts[key], "NumberOfJobs": count})


def _infrastructure(ce: str, collectors: Iterable[str]) -> str:
    """Client, kind of compute element, batch systems. Without our version: a new one must change no old month."""
    names = sorted(collectors, key=str.lower)
    batch = "UNKNOWN" if not names else names[0] if len(names) == 1 else f"[{', '.join(names)}]"
    return f"jobmeter-{ce}-{batch}"
