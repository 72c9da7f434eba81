from __future__ import annotations

from collections.abc import Sequence

from jobmeter.model.job import JobIdentity
from jobmeter.model.metric import Kind, Metric
from jobmeter.model.series import SampleColumn, SampleTable, Series, Value
from jobmeter.query.nodes import agent_states, node_states

SECOND = 10**9


def table(
    node: str, source: str, values: dict[str, Sequence[Value]], instance: str = "", job: JobIdentity | None = None
) -> SampleTable:
    times = [place * SECOND for place in range(len(next(iter(values.values()))))]
    columns = tuple(SampleColumn(Metric(name, "count", Kind.GAUGE, ""), "value", one) for name, one in values.items())
    return SampleTable(Series(node, source, job, instance, tuple(values)), times, columns)


def test_a_node_is_as_its_last_samples_tell() -> None:
    job = JobIdentity("slurm", "c", "1")
    memory = {"procstats_meminfo_memtotal": [8, 8], "procstats_meminfo_memavailable": [6, 2]}
    (state,) = node_states(
        [
            table("n1", "procstats", {"procstats_loadavg_1min": [1.0, None], **memory}),
            table("n1", "ipmi", {"ipmi_power": [100, 120]}),
            table("n1", "rapl", {"rapl_energy": [0, 7_000_000]}, "package-0"),
            table("n1", "cgroup", {"cgroup_memory_current": [1, 2]}, job=job),
        ]
    )
    assert (state.load, state.memory_total, state.memory_used) == (1.0, 8192, 6144)
    assert (state.watts, state.power_from) == (120, "node")
    assert (state.jobs, state.seen_ns) == ((job,), SECOND)


def test_without_a_meter_of_the_node_its_processors_count_once_each() -> None:
    (state,) = node_states(
        [
            table("n1", "rapl", {"rapl_energy": [0, 40_000_000]}, "package-0"),
            table("n1", "rapl", {"rapl_energy": [0, 10_000_000]}, "package-0/dram"),
            table("n1", "rapl", {"rapl_energy": [5, 60_000_005]}, "package-1"),
            table("n1", "nvidia", {"nvidia_power": [None, 250_000]}, "0"),
        ]
    )
    assert (state.watts, state.power_from) == (350.0, "processors")


def test_what_no_sample_tells_is_none() -> None:
    (state,) = node_states([table("n1", "rapl", {"rapl_energy": [5]}, "package-0")])
    assert (state.load, state.memory_used, state.watts, state.jobs) == (None, None, None, ())
    (restarted,) = node_states([table("n1", "rapl", {"rapl_energy": [5, 1]}, "package-0")])
    assert restarted.watts is None


def test_an_agent_tells_its_cost_and_what_it_lost() -> None:
    (state,) = agent_states(
        [
            table("n1", "agent", {"agent_cpu": [0, 20_000_000], "agent_resident": [1, 2], "agent_stretch": [1, 3]}),
            table("n1", "agent", {"agent_source_faults": [0, 2]}, "procstats"),
            table("n1", "agent", {"agent_source_faults": [0, 1]}, "disk"),
            table("n1", "agent", {"agent_sending": [0, 9]}, "samples_dropped"),
            table("n1", "agent", {"agent_sending": [0, 4]}, "messages_waiting"),
            table("n2", "cgroup", {"agent_cpu": [0, 1]}),
        ]
    )
    assert (state.node, state.cpu_share, state.resident, state.stretch) == ("n1", 0.02, 2, 3)
    assert (state.faults, state.lost, state.waiting) == (3, 9, 4)
