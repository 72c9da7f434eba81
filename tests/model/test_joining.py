from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from jobmeter.model.adding import rank
from jobmeter.model.job import JobIdentity
from jobmeter.model.joining import (
    ENERGY_KEY,
    JOINED,
    JOINED_KEY,
    SLACK_NS,
    Candidate,
    assigned,
    joined,
    without_joined,
)
from jobmeter.model.metric import Kind
from jobmeter.model.record import Component, Record, record_fault
from jobmeter.model.summary import EnergySource, JobSummary, MetricSummary

ALL = frozenset(metric.name for metric in JOINED)
SECOND = 10**9
JOB = JobIdentity("slurm", "", "4711")
RECORD = Record(
    "slurm-4711",
    (Component("Cores", 4, ()),),
    datetime(2024, 1, 1, tzinfo=UTC),
    {"site_id": ("A",)},
    datetime(2024, 1, 2, tzinfo=UTC),
)


def metric(name: str, kind: Kind = Kind.COUNTER, **values: float) -> MetricSummary:
    return MetricSummary(name, "", kind, 9, **values)  # type: ignore[arg-type]


def summary(first: int = 0, last: int = 10, *, cluster: str = "", joules: float | None = 7.6) -> JobSummary:
    metrics = (
        metric("cgroup_cpu_usage", total=12.5e9),
        metric("cgroup_memory_peak", Kind.GAUGE, peak=2048.0),
        metric("nvidia_energy", total=2500.0),
    )
    job = replace(JOB, cluster=cluster)
    source = EnergySource.NONE if joules is None else EnergySource.RAPL
    return JobSummary(
        job, ("n",), first * SECOND, last * SECOND, 9, last - first, last - first, True, metrics, joules, source
    )


def amounts(record: Record) -> dict[str, int]:
    return {part.name: part.amount for part in record.components}


def test_what_was_measured_becomes_components_in_the_units_of_the_catalogue() -> None:
    one = joined(RECORD, summary(), ALL)
    assert amounts(one) == {"Cores": 4, "UsedCPU": 12, "PeakMemory": 2048, "Energy": 8, "GPUEnergy": 2}
    assert one.meta == {
        "site_id": ("A",),
        JOINED_KEY: ("UsedCPU", "PeakMemory", "Energy", "GPUEnergy"),
        ENERGY_KEY: ("rapl",),
    }
    assert record_fault(one) is None


def test_what_was_not_measured_is_absent() -> None:
    one = joined(RECORD, summary(joules=None), frozenset({"Energy", "IORead", "PeakMemory"}))
    assert amounts(one) == {"Cores": 4, "PeakMemory": 2048}
    assert ENERGY_KEY not in (one.meta or {})


def test_a_component_of_the_records_own_stays_as_it_is() -> None:
    own = replace(RECORD, components=(Component("UsedCPU", 1, ()),))
    one = joined(own, summary(), frozenset({"UsedCPU", "PeakMemory"}))
    assert amounts(one) == {"UsedCPU": 1, "PeakMemory": 2048}
    assert without_joined(one) == own


def test_a_record_that_claims_to_be_joined_loses_only_what_a_summary_can_give() -> None:
    hostile = replace(RECORD, meta={JOINED_KEY: ("Cores", "UsedCPU", "\u202e")})
    assert amounts(without_joined(hostile)) == {"Cores": 4}


@pytest.mark.parametrize("record", [RECORD, replace(RECORD, meta=None), replace(RECORD, stop_time=None)])
def test_joining_again_changes_nothing_and_can_be_taken_back(record: Record) -> None:
    once = joined(record, summary(), ALL)
    assert joined(once, summary(), ALL) == once
    assert joined(once, None, ALL) == record
    assert without_joined(once) == record


def test_runs_under_one_number_are_told_apart_by_their_time() -> None:
    candidates = [
        Candidate("slurm-4711-100", "c1", 100 * SECOND, 200 * SECOND),
        Candidate("slurm-4711", "c1", 230 * SECOND, 300 * SECOND),
    ]
    first, second = summary(101, 199), summary(231, 299)
    assert assigned([second, first], candidates) == {"slurm-4711-100": (first,), "slurm-4711": (second,)}


def test_a_number_that_was_given_again_and_another_cluster_are_no_match() -> None:
    candidate = Candidate("slurm-4711", "c1", 1000 * SECOND, 2000 * SECOND)
    assert assigned([summary(0, 900)], [candidate]) == {}
    assert assigned([summary(1000, 2000, cluster="c2")], [candidate]) == {}
    near = summary(0, 1000 - SLACK_NS // SECOND + 1)
    assert assigned([near], [candidate]) == {"slurm-4711": (near,)}


def test_a_job_that_runs_still_has_no_end() -> None:
    one = summary(50, 90)
    assert assigned([one], [Candidate("slurm-4711", "", 40 * SECOND, None)]) == {"slurm-4711": (one,)}


def test_parts_within_a_record_count_together() -> None:
    candidate = Candidate("slurm-4711", "c1", 100 * SECOND, 900 * SECOND)
    first, second, same = summary(101, 299), summary(500, 880), summary(510, 800)
    assert assigned([second, same, first], [candidate]) == {"slurm-4711": (second, first)}


def test_a_run_without_a_record_adds_nothing_to_the_next_ones() -> None:
    candidate = Candidate("slurm-4711", "c1", 210 * SECOND, 250 * SECOND)
    before, short, own = summary(100, 205), summary(190, 205), summary(211, 249)
    assert assigned([before, short, own], [candidate]) == {"slurm-4711": (own,)}


def test_one_that_reaches_far_beyond_the_record_counts_alone_where_it_tells_most() -> None:
    candidate = Candidate("slurm-4711", "c1", 500 * SECOND, 900 * SECOND)
    beyond, within = summary(0, 800), summary(850, 890)
    assert assigned([within, beyond], [candidate]) == {"slurm-4711": (beyond,)}


SUMMARIES = st.builds(
    lambda first, length, joules: summary(first, first + length, joules=joules),
    st.integers(0, 50),
    st.integers(0, 50),
    st.none() | st.floats(0, 1e6),
)
CANDIDATES = st.lists(
    st.builds(
        lambda number, start, length: Candidate(
            f"r{number}", "", start * SECOND, None if length is None else (start + length) * SECOND
        ),
        st.integers(0, 5),
        st.integers(0, 60),
        st.none() | st.integers(0, 50),
    ),
    max_size=4,
    unique_by=lambda one: one.record_id,
)


@given(st.lists(SUMMARIES, max_size=5), CANDIDATES, st.randoms(use_true_random=False))
def test_the_order_in_which_anything_comes_makes_no_difference(
    summaries: list[JobSummary], candidates: list[Candidate], random: object
) -> None:
    mixed_summaries, mixed_candidates = [*summaries, *summaries], list(candidates)
    random.shuffle(mixed_summaries)  # type: ignore[attr-defined]
    random.shuffle(mixed_candidates)  # type: ignore[attr-defined]
    assert assigned(mixed_summaries, mixed_candidates) == assigned(summaries, candidates)


@given(SUMMARIES, SUMMARIES)
def test_of_two_summaries_one_ranks_higher_unless_they_are_equal(one: JobSummary, other: JobSummary) -> None:
    assert (rank(one) == rank(other)) == (one == other)


@given(st.floats(0, 1e18))
def test_amounts_are_rounded_and_never_wrapped(total: float) -> None:
    one = replace(summary(), metrics=(metric("cgroup_cpu_usage", total=total),))
    (cpu,) = [part for part in joined(RECORD, one, frozenset({"UsedCPU"})).components if part.name == "UsedCPU"]
    assert abs(Fraction(cpu.amount) - Fraction(total) / 10**9) <= Fraction(1, 2)
