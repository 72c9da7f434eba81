from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jobmeter.model.adding import added, parts_of, rank
from jobmeter.model.job import JobIdentity
from jobmeter.model.metric import Kind, Metric
from jobmeter.model.sample import JobEnd, Sample, SampleBatch
from jobmeter.model.summary import EnergySource, JobSummary, MetricSummary
from jobmeter.model.summing import Summing

SECOND = 10**9
JOB = JobIdentity("slurm", "c1", "7")
CPU = Metric("cgroup_cpu_usage", "nanoseconds", Kind.COUNTER, "")
MEMORY = Metric("cgroup_memory_current", "bytes", Kind.GAUGE, "")


def part(
    first: int,
    last: int,
    used: float,
    *,
    since: int | None = None,
    nodes: tuple[str, ...] = ("n1",),
    peak: float = 1.0,
    joules: float | None = None,
    ended: bool = True,
    energy: EnergySource = EnergySource.RAPL,
) -> JobSummary:
    metrics = (
        MetricSummary(CPU.name, CPU.unit, CPU.kind, 3, total=used, since_ns=None if since is None else since * SECOND),
        MetricSummary(MEMORY.name, MEMORY.unit, MEMORY.kind, 3, min=peak, mean=peak, max=peak, p50=peak, peak=peak),
    )
    source = EnergySource.NONE if joules is None else energy
    silent = () if ended else nodes
    span = last - first
    return JobSummary(JOB, nodes, first * SECOND, last * SECOND, 3, span, span, ended, metrics, joules, source, silent)


def total(one: JobSummary, name: str = CPU.name) -> float | None:
    found = one.metric(name)
    return None if found is None else found.total


def peak(one: JobSummary) -> float | None:
    found = one.metric(MEMORY.name)
    return None if found is None else found.peak


def test_a_counter_that_goes_on_is_not_counted_twice() -> None:
    one = added([part(10, 50, 40.0, since=5, ended=False), part(100, 150, 140.0, since=5)])
    assert total(one) == 140.0
    assert one.metric(CPU.name) is not None
    assert (one.first_ns, one.last_ns, one.ended, one.silent) == (10 * SECOND, 150 * SECOND, True, ())


def test_a_counter_that_began_anew_adds_up() -> None:
    assert total(added([part(10, 50, 40.0, since=5), part(100, 150, 45.0, since=99)])) == 85.0


def test_a_counter_that_says_no_beginning_counts_from_each_parts_first_sample() -> None:
    assert total(added([part(10, 50, 40.0), part(100, 150, 45.0)])) == 85.0


def test_runs_and_interruptions_of_one_of_them_together() -> None:
    parts = [
        part(10, 50, 40.0, since=5),
        part(100, 110, 9.0, since=99, ended=False),
        part(200, 210, 100.0, since=99),
    ]
    assert total(added(parts)) == 140.0


def test_of_parts_in_time_the_largest_peak_counts_and_of_nodes_the_sum() -> None:
    assert peak(added([part(10, 50, 1.0, peak=5.0), part(100, 150, 1.0, peak=3.0)])) == 5.0
    assert peak(added([part(10, 50, 1.0, peak=5.0), part(10, 50, 1.0, peak=3.0, nodes=("n2",))])) == 8.0


def test_nodes_that_sent_to_different_gatherers_are_added_up() -> None:
    one = added(
        parts_of([part(10, 50, 40.0, since=5, joules=3.0), part(11, 49, 7.0, since=6, nodes=("n2",), joules=4.0)])
    )
    assert (one.nodes, total(one), one.joules, one.energy) == (("n1", "n2"), 47.0, 7.0, EnergySource.RAPL)


def test_energy_of_two_kinds_is_an_estimate_and_none_stays_none() -> None:
    mixed = added([part(0, 5, 1.0, joules=3.0), part(9, 12, 1.0, joules=4.0, energy=EnergySource.IPMI)])
    assert (mixed.joules, mixed.energy) == (7.0, EnergySource.ESTIMATED)
    none = added([part(0, 5, 1.0), part(9, 12, 1.0)])
    assert (none.joules, none.energy) == (None, EnergySource.NONE)


def test_what_cannot_be_added_is_absent() -> None:
    one = added([part(10, 50, 1.0, peak=2.0), part(100, 150, 1.0, peak=4.0)]).metric(MEMORY.name)
    assert one is not None
    assert (one.min, one.mean, one.max, one.p50, one.p99, one.samples) == (2.0, 3.0, 4.0, None, None, 6)


def test_two_that_tell_of_the_same_time_and_node_are_no_parts() -> None:
    best, worse = part(0, 100, 9.0), part(20, 90, 5.0)
    assert parts_of([worse, best]) == [best]
    assert parts_of([best, best]) == [best]
    instant = part(5, 5, 1.0)
    assert parts_of([instant, instant]) == [instant]


def test_a_few_seconds_told_twice_where_a_node_turned_to_another_gatherer_are_no_hindrance() -> None:
    before, after = part(0, 100, 90.0, since=0, ended=False), part(96, 200, 190.0, since=0)
    assert total(added(parts_of([before, after]))) == 190.0


def test_a_node_that_ended_in_a_later_part_is_not_silent() -> None:
    one = added([part(0, 9, 1.0, nodes=("n1", "n2"), ended=False), part(20, 30, 1.0, nodes=("n1",))])
    assert (one.ended, one.silent) == (False, ("n2",))


def sample(second: int, used: int, level: float) -> SampleBatch:
    return SampleBatch(
        "n1",
        (
            Sample("cgroup", "n1", JOB, second * SECOND, (CPU.name,), (used,), "", 0),
            Sample("cgroup", "n1", JOB, second * SECOND, (MEMORY.name,), (level,), "m"),
        ),
        (CPU, MEMORY),
    )


@given(
    st.lists(st.tuples(st.integers(0, 50), st.floats(0, 1e9)), min_size=2, max_size=20),
    st.sets(st.integers(1, 19)),
)
def test_a_job_that_was_silent_for_a_while_adds_up_to_what_one_summary_tells(
    steps: list[tuple[int, float]], cuts: set[int]
) -> None:
    whole, cut = Summing(), Summing()
    given_out, used = [], 0
    for second, (grown, level) in enumerate(steps):
        used += grown
        if second in cuts:
            given_out += cut.silent_since(second * SECOND)
        whole.add(sample(second, used, level))
        cut.add(sample(second, used, level))
    end = SampleBatch("n1", (), (), (JobEnd(JOB, "n1", len(steps) * SECOND),))
    (told,) = whole.add(end)
    parts = [*given_out, *cut.add(end)]
    one = added(parts_of(parts))
    assert len(parts_of(parts)) == len(parts)
    assert (total(one), peak(one), one.samples) == (total(told), peak(told), told.samples)
    assert (one.first_ns, one.last_ns, one.ended, one.nodes) == (told.first_ns, told.last_ns, True, told.nodes)


@given(st.permutations([part(0, 9, 1.0), part(20, 30, 2.0, since=15), part(40, 50, 9.0, since=15, nodes=("n1", "n2"))]))
def test_the_order_of_parts_makes_no_difference(parts: list[JobSummary]) -> None:
    assert parts_of(parts) == sorted(parts, key=rank, reverse=True)
    assert total(added(parts)) == 10.0
