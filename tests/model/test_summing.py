from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobmeter.model.adding import added, parts_of
from jobmeter.model.job import JobIdentity
from jobmeter.model.metric import Kind, Metric
from jobmeter.model.sample import JobEnd, Sample, SampleBatch
from jobmeter.model.sketch import Sketch
from jobmeter.model.summary import EnergySource, JobSummary
from jobmeter.model.summing import Summing

SECOND = 10**9
ONE, TWO = JobIdentity("slurm", "c", "1"), JobIdentity("slurm", "c", "2")
METRICS = (
    Metric("cgroup_cpu_usage", "nanoseconds", Kind.COUNTER, ""),
    Metric("memory", "bytes", Kind.GAUGE, ""),
    Metric("rapl_energy", "microjoules", Kind.COUNTER, ""),
    Metric("ipmi_power", "watts", Kind.GAUGE, ""),
)
NAMES = ("cgroup_cpu_usage", "memory")


def of_job(  # noqa: PLR0917
    second: float,
    cpu: float | None,
    memory: float | None,
    job: JobIdentity = ONE,
    node: str = "n1",
    since: int | None = 0,
) -> Sample:
    return Sample("cgroup", node, job, int(second * SECOND), NAMES, (cpu, memory), since_ns=since)


def of_node(second: float, name: str, value: float, *jobs: JobIdentity, instance: str = "package-0") -> Sample:
    return Sample("rapl", "n1", None, int(second * SECOND), (name,), (value,), instance, involved=jobs)


def summed(*samples: Sample, ends: tuple[tuple[JobIdentity, str], ...] = ((ONE, "n1"),)) -> JobSummary:
    summing = Summing()
    assert summing.add(SampleBatch("n1", samples, METRICS)) == []
    (one,) = summing.add(SampleBatch("n1", (), ends=tuple(JobEnd(job, node, 99) for job, node in ends)))
    assert summing.close() == []
    return one


def test_a_job_on_two_nodes_is_one_summary_when_both_have_ended() -> None:
    one = summed(
        *(of_job(s, s * SECOND // 2, 100 + s) for s in range(1, 11)),
        *(of_job(s, s * SECOND, 200, node="n2") for s in range(1, 11)),
        ends=((ONE, "n1"), (ONE, "n2")),
    )
    cpu, memory = one.metric("cgroup_cpu_usage"), one.metric("memory")
    assert one.nodes == ("n1", "n2")
    assert one.ended
    assert (one.samples, one.node_seconds, one.covered_seconds) == (20, 18, 18)
    assert cpu is not None
    assert cpu.total == 15 * SECOND, "from the beginning of the counters on, not from the first sample"
    assert cpu.mean == 0.75 * SECOND
    assert memory is not None
    assert (memory.min, memory.max, memory.peak) == (101, 200, 310)
    assert memory.mean == pytest.approx((105.5 + 200) / 2)


def test_a_counter_that_began_anew_is_counted_on() -> None:
    one = summed(
        of_job(1, 10, 0), of_job(2, 30, 0), of_job(3, 5, 0, since=2 * SECOND), of_job(4, 9, 0, since=2 * SECOND)
    )
    cpu = one.metric("cgroup_cpu_usage")
    assert cpu is not None
    assert (cpu.total, cpu.resets) == (39, 1)


def test_a_counter_of_unknown_beginning_counts_from_its_first_sample() -> None:
    one = summed(*(of_job(s, 1000 + s, None, since=None) for s in range(5)))
    cpu, memory = one.metric("cgroup_cpu_usage"), one.metric("memory")
    assert cpu is not None
    assert cpu.total == 4
    assert memory is not None
    assert (memory.samples, memory.missing, memory.mean, memory.peak) == (0, 5, None, None)


def test_repeats_and_late_samples_are_not_counted_twice() -> None:
    plain = [of_job(s, s * 7, 1) for s in range(1, 9)]
    cpu = summed(*plain, *plain[3:6]).metric("cgroup_cpu_usage")
    assert cpu is not None
    assert (cpu.total, cpu.resets) == (56, 0)


def test_a_gap_is_not_covered() -> None:
    one = summed(*(of_job(s, s, 1) for s in (*range(10), *range(100, 110))))
    assert (one.node_seconds, one.covered_seconds) == (109, 18)


def test_the_energy_of_a_node_is_the_jobs_that_has_it_alone() -> None:
    one = summed(*(sample for s in range(11) for sample in (of_job(s, s, 1), of_node(s, "rapl_energy", s * 5e6, ONE))))
    assert one.joules == pytest.approx(50)
    assert one.energy is EnergySource.RAPL


def test_parts_of_a_package_are_not_counted_twice() -> None:
    meters = (("package-0", 5e6), ("package-0/core", 3e6), ("package-0/dram", 1e6), ("psys", 9e6))
    nodes = [of_node(s, "rapl_energy", s * rate, ONE, instance=name) for s in range(11) for name, rate in meters]
    assert summed(of_job(0, 0, 1), *nodes).joules == pytest.approx(60)


def test_power_of_the_whole_node_counts_before_its_processors() -> None:
    nodes = [of_node(s, "ipmi_power", 300, ONE, instance="") for s in range(0, 11, 5)]
    both = [*nodes, *(of_node(s, "rapl_energy", s * 5e6, ONE) for s in range(11))]
    one = summed(of_job(0, 0, 1), *both)
    assert (one.joules, one.energy) == (3000, EnergySource.IPMI)


def test_shared_energy_goes_by_processor_time_and_is_called_estimated() -> None:
    summing = Summing()
    for s in range(11):
        jobs = (of_job(s, s * 300, 1), of_job(s, s * 100, 1, TWO))
        summing.add(SampleBatch("n1", (of_node(s, "rapl_energy", s * 8e6, ONE, TWO), *jobs), METRICS))
    one, two = summing.running(ONE), summing.running(TWO)
    assert one is not None
    assert two is not None
    assert one.joules == pytest.approx(60)
    assert two.joules == pytest.approx(20)
    assert one.energy is two.energy is EnergySource.ESTIMATED


def test_what_comes_after_the_summary_makes_no_second_one() -> None:
    summing = Summing()
    summing.add(SampleBatch("n1", (of_job(1, 1, 1),), METRICS))
    assert len(summing.add(SampleBatch("n1", (), ends=(JobEnd(ONE, "n1", 2),)))) == 1
    assert summing.add(SampleBatch("n1", (of_job(1, 1, 1),), METRICS, (JobEnd(ONE, "n1", 2),))) == []
    assert summing.close() == []
    assert summing.late == 1


@pytest.mark.parametrize("kept", [False, True])
def test_a_node_whose_samples_come_after_the_job_ended_elsewhere_is_a_part_of_it(kept: bool) -> None:
    """However late it is heard of, all parts together tell what one summary would have told."""
    ends = {node: SampleBatch(node, (), ends=(JobEnd(ONE, node, 20),)) for node in ("n1", "n2")}
    by_node = {
        node: [SampleBatch(node, (of_job(at, at * 5, 1, node=node, since=0),), METRICS) for at in range(1, 11)]
        for node in ends
    }
    in_time, late = Summing(), Summing()
    for here, there in zip(*by_node.values(), strict=True):
        in_time.add(here)
        in_time.add(there)
    in_time.add(ends["n1"])
    (whole,) = in_time.add(ends["n2"])
    parts = []
    for node, end in ends.items():
        for batch in (*by_node[node], end, by_node["n1"][-1]):
            parts += late.add(batch)
            late = Summing(kept=late.kept()) if kept else late
    one = added(parts_of(parts))
    assert [part.nodes for part in parts] == [("n1",), ("n2",)]
    assert [part.earlier for part in parts] == [0, 0]
    total, wanted = (each.metric("cgroup_cpu_usage") for each in (one, whole))
    assert total is not None
    assert wanted is not None
    assert (total.total, one.samples, one.nodes) == (wanted.total, whole.samples, whole.nodes)
    assert late.late == 2


def test_a_job_that_runs_again_under_its_number_has_a_summary_for_each_run() -> None:
    """As Slurm requeues it: each run counts from zero in a folder of its own, the second here on another node."""
    summing = Summing()
    found: list[JobSummary] = []
    for run, (node, began) in enumerate((("n1", 0), ("n2", 100), ("n1", 200))):
        for second in range(1, 11):
            at = began + second
            sample = of_job(at, second * (run + 1), 100, node=node, since=began * SECOND)
            found += summing.add(SampleBatch(node, (sample,), METRICS))
        found += summing.add(SampleBatch(node, (), ends=(JobEnd(ONE, node, (began + 11) * SECOND),)))
        summing = Summing(kept=summing.kept())
    assert [(one.earlier, one.nodes, one.first_ns // SECOND) for one in found] == [
        (0, ("n1",), 1),
        (1, ("n2",), 101),
        (2, ("n1",), 201),
    ]
    totals = [one.metric("cgroup_cpu_usage") for one in found]
    assert [metric and metric.total for metric in totals] == [10, 20, 30]
    assert summing.late == 0


def test_without_a_meter_there_is_no_energy() -> None:
    one = summed(of_job(0, 0, 1))
    assert (one.joules, one.energy) == (None, EnergySource.NONE)


def test_a_node_that_falls_silent_is_told() -> None:
    summing = Summing()
    summing.add(SampleBatch("n1", (of_job(1, 1, 1), of_job(1, 1, 1, node="n2")), METRICS))
    assert summing.add(SampleBatch("n1", (), ends=(JobEnd(ONE, "n1", 2),))) == []
    assert summing.silent_since(SECOND) == []
    (one,) = summing.silent_since(2 * SECOND)
    assert (one.ended, one.silent) == (False, ("n2",))


def test_memory_is_bounded_by_giving_out_the_job_that_was_silent_longest() -> None:
    summing = Summing(jobs_max=2)
    jobs = [JobIdentity("slurm", "c", str(number)) for number in range(4)]
    given = [summing.add(SampleBatch("n", (of_job(s, 1, 1, job),), METRICS)) for s, job in enumerate(jobs)]
    assert [[one.job for one in each] for each in given] == [[], [], [jobs[0]], [jobs[1]]]


@given(st.lists(st.floats(-1e12, 1e12).filter(lambda x: x == 0 or abs(x) > 1e-9), min_size=1, max_size=300))
def test_a_quantile_is_within_a_hundredth(values: list[float]) -> None:
    sketch = Sketch()
    for value in values:
        sketch.add(value)
    exact = sorted(values)
    for part in (0.0, 0.25, 0.5, 0.9, 0.99, 1.0):
        found = sketch.quantile(part)
        assert found == pytest.approx(exact[int(part * (len(values) - 1) + 1e-9)], rel=0.0101)


def test_sketches_can_be_added() -> None:
    chance = random.Random(1)
    whole, parts = Sketch(), [Sketch(), Sketch()]
    for number in range(1000):
        value = chance.lognormvariate(0, 3)
        whole.add(value)
        parts[number % 2].add(value)
    parts[0].merge(parts[1])
    assert [parts[0].quantile(part / 10) for part in range(11)] == [whole.quantile(part / 10) for part in range(11)]
