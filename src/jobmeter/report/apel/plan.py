"""How summaries are asked for: which dimensions and measures of totals the fields of a configuration become.

What divides the jobs of a site into blocks (user, VO, cores, …) is asked for as dimensions, everything that is summed
as measures. So all arithmetic is the server's, exact, and a sum is rounded once. AUDITOR's plugin rounds each job, and
by that is off by up to half a unit a job.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from jobmeter.model.period import Period
from jobmeter.model.question import Bound, Column, ComponentCondition, Op, Question, Scope, ScoreBound, ScoreCondition
from jobmeter.model.record import microseconds
from jobmeter.model.total import (
    COUNT,
    AmountDimension,
    Dimension,
    Extreme,
    Factor,
    FieldDimension,
    Measure,
    MetaDimension,
    Product,
    Span,
    TotalQuestion,
)
from jobmeter.report.apel.fields import (
    ComponentField,
    ConstantField,
    Field,
    MetaField,
    NormalisedField,
    NormalisedWallDurationField,
    RecordField,
    ScoreField,
)
from jobmeter.report.apel.settings import Config

SUMS = ("CpuDuration", "NormalisedWallDuration", "NormalisedCpuDuration")
COLLECTOR = MetaDimension("collector_type")
RUNTIME = Product(span=Span.RUNTIME)
FIRST, LAST = Extreme(Column.STOP_TIME, latest=False), Extreme(Column.STOP_TIME, latest=True)


class Unsummable(ValueError):  # noqa: N818 - what it is, not that it is an error
    """A field cannot be part of a summary; the message says which and why."""


class Summed(Struct, frozen=True):
    """A field that is summed: a measure times `factor`, divided by `divisor` and by the amount of a component."""

    measure: Measure
    divisor: int = 1
    factor: Decimal = Decimal(1)
    amount_of: str | None = None


class Need(Struct, frozen=True):
    """What a job must have to be part of a summary: a component, and a score of it where one is named."""

    component: str
    score: str | None = None

    @property
    def measure(self) -> Product:
        """Counts a term for a job that has it."""
        return Product((Factor(self.component, () if self.score is None else (self.score,)),))

    def __str__(self) -> str:
        named = f"component {self.component}"
        return named if self.score is None else f"score {self.score} of the {named}"


class Plan(Struct, frozen=True):
    """How one configuration asks. `keys` are the fields that divide into blocks, `sums` those that are summed."""

    sites: tuple[Dimension, ...]
    dimensions: tuple[Dimension, ...]
    measures: tuple[Measure, ...]
    keys: Mapping[str, Field]
    sums: Mapping[str, Summed]
    needs: tuple[Need, ...]

    @property
    def divisors(self) -> frozenset[str]:
        """The components whose amount is divided out of a sum again, so that it must not be zero."""
        return frozenset(each.amount_of for each in self.sums.values() if each.amount_of)

    def jobs(self, period: Period) -> TotalQuestion:
        """How many jobs of each site ended in `period`."""
        return TotalQuestion(ended_in(period), self.sites, (COUNT,))

    def ended(self, period: Period) -> TotalQuestion:
        """The same with those that never ran, which no report counts."""
        return TotalQuestion(replace(ended_in(period), runtime=()), self.sites, (COUNT,))

    def sums_of(self, period: Period) -> TotalQuestion:
        """The sums of the jobs that ended in `period` and have what a summary needs, by site and block."""
        at_least_zero = (Bound(Op.GTE, 0),)
        components = dict.fromkeys(need.component for need in self.needs)
        scores = dict.fromkeys(need.score for need in self.needs if need.score is not None)
        where = replace(
            ended_in(period),
            components=tuple(ComponentCondition(name, at_least_zero) for name in components),
            scores=tuple(ScoreCondition(name, (ScoreBound(Op.GTE, 0.0),)) for name in scores),
        )
        return TotalQuestion(where, self.dimensions, self.measures)

    def each_job(self, period: Period) -> TotalQuestion:
        """What each job that ended in `period` has of what is needed: a group per job."""
        measures = (COUNT, *(need.measure for need in self.needs))
        return TotalQuestion(ended_in(period), (*self.sites, FieldDimension(Column.RECORD_ID)), measures)


def plan(config: Config) -> Plan:
    """The plan of a configuration. Raises Unsummable."""
    if config.summary_fields is None:
        raise Unsummable("summary_fields are missing")
    fields = config.summary_fields.all
    keys = {name: field for name, field in fields.items() if name not in SUMS}
    sums = {name: _summed(name, fields[name]) for name in SUMS}
    sites = tuple(map(MetaDimension, config.auditor.site_meta_field))
    dimensions: dict[Dimension, None] = dict.fromkeys(sites)
    for name, field in keys.items():
        dimensions.update(dict.fromkeys(_dimensions(name, field)))
    dimensions.update(dict.fromkeys(AmountDimension(each.amount_of) for each in sums.values() if each.amount_of))
    if not config.is_older and "InfrastructureDescription" not in keys:
        dimensions[COLLECTOR] = None
    measures = dict.fromkeys((COUNT, RUNTIME, FIRST, LAST, *(each.measure for each in sums.values())))
    return Plan(sites, tuple(dimensions), tuple(measures), keys, sums, _needs(fields.values()))


def ended_in(period: Period) -> Question:
    """The jobs of any length that ended in `period`."""
    stop_time = (Bound(Op.GTE, microseconds(period.start)), Bound(Op.LT, microseconds(period.stop)))
    return Question(Scope.everything(), stop_time=stop_time, runtime=(Bound(Op.GT, 0),))


def _summed(name: str, field: Field) -> Summed:
    match field:
        case ComponentField(component, divisor):
            return Summed(Product((Factor(component),)), divisor or 1)
        case RecordField("runtime", None):
            return Summed(RUNTIME)
        case ConstantField(value) if isinstance(value, int | float):
            return Summed(COUNT, factor=Decimal(str(value)))
        case NormalisedWallDurationField(score):
            return _normalised(name, score, RecordField("runtime"))
        case NormalisedField(score, base):
            return _normalised(name, score, base)
        case _:
            raise Unsummable(f"{name}: {type(field).__name__} gives nothing that can be summed")


def _normalised(name: str, score: ScoreField, base: Field) -> Summed:
    """A base value times a score. A product of totals has the component's amount in it, which is divided out again."""
    scored = Factor(score.component_name, (score.name,))
    match base:
        case RecordField("runtime", None):
            return Summed(Product((scored,), Span.RUNTIME), amount_of=score.component_name)
        case ComponentField(component, divisor) if component == score.component_name:
            return Summed(Product((scored,)), divisor or 1)
        case ComponentField(component, divisor):
            return Summed(Product((Factor(component), scored)), divisor or 1, amount_of=score.component_name)
        case ConstantField(value) if isinstance(value, int | float):
            return Summed(Product((scored,)), factor=Decimal(str(value)), amount_of=score.component_name)
        case _:
            raise Unsummable(f"{name}: {type(base).__name__} cannot be the base of a sum")


def _dimensions(name: str, field: Field) -> tuple[Dimension, ...]:
    match field:
        case MetaField(key):
            return (MetaDimension(key),)
        case ComponentField(component):
            return (AmountDimension(component),)
        case ConstantField():
            return ()
        case _:
            raise Unsummable(f"{name}: {type(field).__name__} cannot divide jobs into blocks of a summary")


def _needs(fields: Iterable[Field]) -> tuple[Need, ...]:
    found: dict[Need, None] = {}
    for field in fields:
        if isinstance(field, ComponentField):
            found[Need(field.name)] = None
        if isinstance(field, NormalisedField) and isinstance(field.base_value, ComponentField):
            found[Need(field.base_value.name)] = None
        if isinstance(field, NormalisedField | NormalisedWallDurationField):
            found[Need(field.score.component_name, field.score.name)] = None
            found[Need(field.score.component_name)] = None
    return tuple(found)
