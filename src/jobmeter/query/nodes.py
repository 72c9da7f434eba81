"""Nodes and their agents as the samples of the last minutes tell. What no sample tells is None."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct

from jobmeter.model.job import JobIdentity
from jobmeter.model.series import SampleColumn, SampleTable, Value

JOB_SIGNS = ("jobproc_processes", "cgroup_memory_current", "taskstats_cpu_run_real_total")
"""A sample of any of these says that its job is on the node: one of each source that measures jobs."""
STATE_METRICS = (
    "procstats_loadavg_1min", "procstats_meminfo_memtotal", "procstats_meminfo_memavailable", "ipmi_power",
    "rapl_energy", "nvidia_power", "agent_cpu", *JOB_SIGNS,
)  # fmt: skip
AGENT_METRICS = ("agent_cpu", "agent_resident", "agent_stretch", "agent_source_faults", "agent_sending")

_KIB = 1024


class NodeState(Struct):
    """A node at its last sample. Memory in bytes; watts of the whole node where it has a meter, else of processors.

    `power_from` says which: "node", or "processors" (packages and graphics processors that tell).
    """

    node: str
    seen_ns: int
    load: float | None = None
    memory_total: float | None = None
    memory_available: float | None = None
    watts: float | None = None
    power_from: str | None = None
    jobs: tuple[JobIdentity, ...] = ()

    @property
    def memory_used(self) -> float | None:
        """What is not available to anybody who asks for it."""
        if self.memory_total is None or self.memory_available is None:
            return None
        return self.memory_total - self.memory_available


class AgentState(Struct):
    """A node agent at its last sample: what it costs, and what it could not do since it was started."""

    node: str
    seen_ns: int
    cpu_share: float | None = None
    """Of one core, between the first and the last sample that were asked for."""
    resident: float | None = None
    stretch: float | None = None
    faults: int | None = None
    lost: int | None = None
    waiting: int | None = None


def node_states(tables: Iterable[SampleTable]) -> list[NodeState]:
    """The nodes in order of their names, from plain tables of STATE_METRICS."""
    found: dict[str, NodeState] = {}
    jobs: dict[str, set[JobIdentity]] = {}
    part_watts: dict[str, float] = {}
    for table in tables:
        if not len(table.times_ns):
            continue
        series = table.series
        state = found.setdefault(series.node, NodeState(series.node, 0))
        state.seen_ns = max(state.seen_ns, table.times_ns[-1])
        if series.job is not None:
            jobs.setdefault(series.node, set()).add(series.job)
            continue
        for column in table.columns:
            _note(state, column, part_watts, table)
    for node, state in found.items():
        state.jobs = tuple(sorted(jobs.get(node, ()), key=str))
        if state.watts is None and node in part_watts:
            state.watts, state.power_from = part_watts[node], "processors"
    return [found[node] for node in sorted(found)]


def _note(state: NodeState, column: SampleColumn, part_watts: dict[str, float], table: SampleTable) -> None:
    value = last(column)
    if value is None:
        return
    match column.metric.name:
        case "procstats_loadavg_1min":
            state.load = value
        case "procstats_meminfo_memtotal":
            state.memory_total = value * _KIB
        case "procstats_meminfo_memavailable":
            state.memory_available = value * _KIB
        case "ipmi_power":
            state.watts, state.power_from = value, "node"
        case "nvidia_power":
            part_watts[state.node] = part_watts.get(state.node, 0.0) + value / 1000
        case "rapl_energy" if "/" not in table.series.instance:
            rate = per_second(table, column)
            if rate is not None:
                part_watts[state.node] = part_watts.get(state.node, 0.0) + rate / 1e6


def agent_states(tables: Iterable[SampleTable]) -> list[AgentState]:
    """The agents in order of their nodes, from plain tables of AGENT_METRICS."""
    found: dict[str, AgentState] = {}
    for table in tables:
        if table.series.source != "agent" or table.series.job is not None or not len(table.times_ns):
            continue
        state = found.setdefault(table.series.node, AgentState(table.series.node, 0))
        state.seen_ns = max(state.seen_ns, table.times_ns[-1])
        for column in table.columns:
            _note_agent(state, column, table)
    return [found[node] for node in sorted(found)]


def _note_agent(state: AgentState, column: SampleColumn, table: SampleTable) -> None:
    value = last(column)
    if value is None:
        return
    name = table.series.instance
    match column.metric.name:
        case "agent_cpu":
            rate = per_second(table, column)
            state.cpu_share = None if rate is None else rate / 1e9
        case "agent_resident":
            state.resident = value
        case "agent_stretch":
            state.stretch = value
        case "agent_source_faults":
            state.faults = (state.faults or 0) + int(value)
        case "agent_sending" if name == "samples_dropped":
            state.lost = (state.lost or 0) + int(value)
        case "agent_sending" if name == "messages_waiting":
            state.waiting = int(value)


def last(column: SampleColumn) -> int | float | None:
    """The last value that there is."""
    return next((value for value in reversed(column.values) if value is not None), None)


def per_second(table: SampleTable, column: SampleColumn) -> float | None:
    """How fast a counter grew from its first to its last value; None with one value, or where it began anew."""
    known = list(_known(table, column.values))
    if len(known) < 2:
        return None
    (first_ns, first), (last_ns, newest) = known[0], known[-1]
    if last_ns <= first_ns or newest < first:
        return None
    return (newest - first) / ((last_ns - first_ns) / 1e9)


def _known(table: SampleTable, values: Iterable[Value]) -> Iterator[tuple[int, int | float]]:
    for time_ns, value in zip(table.times_ns, values, strict=True):
        if value is not None:
            yield time_ns, value
