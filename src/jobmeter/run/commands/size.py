"""`jobmeter size`: how much disk, memory, processor and network a facility needs, from what was measured."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

import msgspec
from msgspec import Struct

SUMMARY: str = "computes the disk, memory, cores and network that a facility needs"


class Constant(Struct, frozen=True):
    """A measured figure, its unit, and where it comes from."""

    value: float
    unit: str
    source: str


CONSTANTS = {
    "record": Constant(620, "bytes", "bench sizing: 15,616 records of the demo on SQLite, with indexes and kept sums"),
    "summary": Constant(2130, "bytes", "bench sizing: 3,955 summaries of the demo, five metrics each"),
    "value_raw": Constant(0.72, "bytes", "bench samples: sealed, zlib 6, real samples of /proc (0.57 to 0.72)"),
    "value_rolled": Constant(2.9, "bytes", "four columns of a rollup (count, mean, min, max), each as a raw value"),
    "values_node": Constant(141, "values", "bench sizing: 2 cores, a disk, 3 interfaces, the agent itself"),
    "values_job": Constant(64, "values", "the catalogue: 28 of cgroup, 30 of taskstats, 3 for each of two commands"),
    "value_wire": Constant(39, "bytes", "bench sizing: JSON with names; frames of a gatherer are smaller"),
    "agent_core": Constant(0.2, "percent", "bench node: 20 jobs, 200 processes, every 5 s (0.17)"),
    "agent_memory": Constant(28, "mebibytes", "bench node and bench sizing: resident"),
    "server_memory": Constant(98, "mebibytes", "bench http: resident after ingest, without samples"),
    "head_memory": Constant(64, "mebibytes", "the setting samples.bounds.head_bytes"),
    "records_a_second": Constant(10_000, "records", "bench http: one record a request, one server on SQLite"),
    "values_a_second": Constant(200_000, "values", "bench samples: values in, one writer, the least of several runs"),
}
"""Every figure that is computed with. They are of noisy machines with 2 cores: take them for an order of magnitude."""

_DAY = 86_400
_HEADROOM = 1.3
_YEAR_DAYS = 365


class Asked(Struct, frozen=True):
    """The facility: nodes, jobs a day, jobs on a node at a time, the period in seconds, and what is kept how long."""

    nodes: int
    jobs_a_day: float
    jobs_on_node: float
    period_seconds: float
    raw_days: float
    years: float


class Need(Struct, frozen=True):
    """One line of the answer."""

    name: str
    value: float
    unit: str
    how: str


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add = parser.add_argument
    add("--nodes", type=_count, required=True, metavar="N", help="nodes that are measured")
    add("--jobs", type=_count, required=True, metavar="N", help="jobs that end in a day")
    add("--jobs-on-node", type=_positive, default=8.0, metavar="N", help="jobs on a node at a time (8)")
    add("--period", type=_positive, default=5.0, metavar="SECONDS", help="how often nodes are sampled (5)")
    add("--raw-days", type=_positive, default=30.0, metavar="N", help="days that samples are kept as they came (30)")
    add("--years", type=_positive, default=5.0, metavar="N", help="years that records are kept (5)")
    add("--json", action="store_true", help="print needs and figures as JSON")


def execute(arguments: argparse.Namespace) -> int:
    """Print what is needed."""
    asked = Asked(
        arguments.nodes,
        float(arguments.jobs),
        arguments.jobs_on_node,
        arguments.period,
        arguments.raw_days,
        arguments.years,
    )
    needs = list(needed(asked))
    if arguments.json:
        told = {"asked": asked, "needs": needs, "figures": CONSTANTS}
        sys.stdout.write(msgspec.json.encode(told).decode() + "\n")
        return 0
    for need in needs:
        sys.stdout.write(f"{need.name:<34}{_shown(need)}\n    {need.how}\n")
    sys.stdout.write("\nwith these figures:\n")
    for name, one in CONSTANTS.items():
        sys.stdout.write(f"  {name:<18}{one.value:>12,g} {one.unit:<10} {one.source}\n")
    return 0


def needed(asked: Asked) -> Iterator[Need]:
    """What the facility needs, with the sum that it comes from. Bytes of disks have a third of headroom."""
    values = asked.nodes * (_of("values_node") + asked.jobs_on_node * _of("values_job"))
    rate = values / asked.period_seconds
    records = asked.jobs_a_day * _YEAR_DAYS * asked.years
    yield Need("samples", rate, "values/s", f"{values:,.0f} values every {asked.period_seconds:g} s")
    raw = rate * _DAY * asked.raw_days * _of("value_raw") * _HEADROOM
    yield Need(
        "disk, samples as they came", raw, "bytes", f"{asked.raw_days:g} days at {_of('value_raw')} bytes a value"
    )
    rolled = (values * 1440 * 400 + values * 24 * 3650) * _of("value_rolled") * _HEADROOM
    yield Need("disk, rollups at the most", rolled, "bytes", "a minute for 400 days, an hour for 10 years")
    account = records * (_of("record") + _of("summary")) * _HEADROOM
    yield Need("disk, records and summaries", account, "bytes", f"{records:,.0f} records in {asked.years:g} years")
    share = rate / _of("values_a_second") + asked.jobs_a_day / _DAY / _of("records_a_second")
    yield Need("server, processor", max(share * _HEADROOM, 0.1), "cores", "ingest alone; two more for questions")
    memory = (_of("server_memory") + _of("head_memory")) * 2**20 * _HEADROOM
    yield Need("server, memory", memory, "bytes", "one process; the page cache is beside it")
    yield Need("network to the server", rate * _of("value_wire"), "bytes/s", "all nodes together")
    yield Need("each node, processor", _of("agent_core") / 100, "cores", "never more than the ceiling, 0.02")
    yield Need("each node, memory", _of("agent_memory") * 2**20, "bytes", "resident")
    yield Need("gatherers", max(1.0, -(-asked.nodes // 1000)), "processes", "one for a thousand nodes")


def _of(name: str) -> float:
    return CONSTANTS[name].value


def _shown(need: Need) -> str:
    if not need.unit.startswith("bytes"):
        return f"{need.value:,.3g} {need.unit}" if need.value < 1000 else f"{need.value:,.0f} {need.unit}"
    value, end = need.value, need.unit.removeprefix("bytes")
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.1f} {unit}{end}"
        value /= 1024
    return f"{value:,.1f} TiB{end}"


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= 10**9):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= 10**6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number
