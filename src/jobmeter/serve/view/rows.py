"""A table of jobs: which columns there are, and what stands in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct

from jobmeter.model.metric import JOB_TOTALS
from jobmeter.model.record import Record
from jobmeter.report.why.facts import Facts, facts_of
from jobmeter.serve.web.figures import ABSENT, amount_bytes, moment, number, percent, span
from jobmeter.wire.auditor import decode_record

OFFERED_MAX = 40
"""So many components and meta keys of the rows are offered as columns."""


class Column(Struct, frozen=True):
    """A column: `name` in addresses, `title` for people, `sort` the order its head asks for; a `time` is not broken."""

    name: str
    title: str
    figure: bool = False
    time: bool = False
    sort: str | None = None
    note: str = ""


class Row(Struct, frozen=True):
    """A job in the table: its id, and a text for each column after it."""

    record_id: str
    cells: tuple[str, ...]


_FIXED: Mapping[str, tuple[Column, Callable[[Facts], str]]] = {
    "user": (Column("user", "User"), lambda facts: facts.user or ABSENT),
    "group": (Column("group", "Group"), lambda facts: facts.group or ABSENT),
    "site": (Column("site", "Site"), lambda facts: facts.site or ABSENT),
    "started": (Column("started", "Started", time=True, sort="start_time"), lambda facts: moment(facts.start)),
    "ended": (
        Column("ended", "Ended", time=True, sort="stop_time"),
        lambda facts: "running" if facts.stop is None else moment(facts.stop),
    ),
    "wall": (Column("wall", "Wall time", figure=True, sort="runtime"), lambda facts: span(facts.wall_seconds)),
    "waited": (Column("waited", "Waited", figure=True), lambda facts: span(facts.wait_seconds)),
    "cores": (Column("cores", "Cores", figure=True), lambda facts: number(facts.cores)),
    "nodes": (Column("nodes", "Nodes", figure=True), lambda facts: number(facts.nodes)),
    "gpus": (Column("gpus", "GPUs", figure=True), lambda facts: number(facts.gpus)),
    "core_hours": (
        Column("core_hours", "Core-hours", figure=True, note="Cores times wall time."),
        lambda facts: hours(facts.core_seconds),
    ),
    "efficiency": (
        Column("efficiency", "CPU efficiency", figure=True, note="Processor time that was used, of the core-hours."),
        lambda facts: percent(facts.cpu_efficiency),
    ),
    "memory": (
        Column("memory", "Peak memory", figure=True, note="The most memory that was used at once."),
        lambda facts: amount_bytes(facts.memory_peak_bytes),
    ),
    "energy": (Column("energy", "Energy", figure=True), lambda facts: energy(facts.joules)),
}
DEFAULT = ("user", "group", "ended", "wall", "cores", "core_hours", "efficiency")


def hours(seconds: float | None) -> str:
    """Core seconds as core-hours."""
    if seconds is None:
        return ABSENT
    found = seconds / 3600
    return number(found, 2 if found < 10 else 1 if found < 100 else 0)


def energy(joules: float | None) -> str:
    """Joules as people read them: kilowatt-hours from a hundredth on."""
    if joules is None:
        return ABSENT
    kilowatt_hours = joules / 3_600_000
    if kilowatt_hours < 0.01:
        return f"{number(joules)} J"
    return f"{number(kilowatt_hours, 2 if kilowatt_hours < 10 else 1 if kilowatt_hours < 100 else 0)} kWh"


def columns_of(names: Sequence[str]) -> tuple[Column, ...]:
    """The columns of these names, each once; a name that says nothing is left out. Without any, those of DEFAULT."""
    found = [column for name in dict.fromkeys(names) if (column := _column(name)) is not None]
    return tuple(found) or columns_of(DEFAULT)


def offered(records: Iterable[Record], chosen: Sequence[Column]) -> tuple[Column, ...]:
    """All columns to choose from: the fixed ones, those that are chosen, and what these records have."""
    own: dict[str, None] = {}
    for record in records:
        own |= dict.fromkeys(f"component.{component.name}" for component in record.components)
        own |= dict.fromkeys(f"meta.{key}" for key in record.meta or {})
    names = [*_FIXED, *(column.name for column in chosen), *list(own)[:OFFERED_MAX]]
    return columns_of(names)


def rows_of(records: Iterable[Record], columns: Sequence[Column]) -> list[Row]:
    """The rows, in order."""
    return [_row(record, columns) for record in records]


def records_of(bodies: Iterable[bytes]) -> list[Record]:
    """The records that a store gave as JSON."""
    return [decode_record(body) for body in bodies]


def unit_of(component: str) -> str:
    """The unit of a component's amount where the catalogue has it, else nothing."""
    return JOB_TOTALS[component].unit if component in JOB_TOTALS else ""


def _row(record: Record, columns: Sequence[Column]) -> Row:
    facts = facts_of(record)
    return Row(record.record_id, tuple(_cell(record, facts, column.name) for column in columns))


def _cell(record: Record, facts: Facts, name: str) -> str:
    if name in _FIXED:
        return _FIXED[name][1](facts)
    kind, _, key = name.partition(".")
    if kind == "meta":
        return ", ".join((record.meta or {}).get(key, ())) or ABSENT
    amounts = [component.amount for component in record.components if component.name == key]
    return ", ".join(f"{amount:,}" for amount in amounts) or ABSENT


def _column(name: str) -> Column | None:
    if name in _FIXED:
        return _FIXED[name][0]
    kind, dot, key = name.partition(".")
    if not dot or not key or kind not in {"component", "meta"}:
        return None
    unit = unit_of(key) if kind == "component" else ""
    return Column(name, f"{key} ({unit})" if unit else key, figure=kind == "component")
