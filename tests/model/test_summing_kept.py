from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from jobmeter.model.sample import JobEnd, Sample, SampleBatch
from jobmeter.model.summary import JobSummary
from jobmeter.model.summing import Kept, Summing
from tests.model.test_summing import METRICS, ONE, SECOND, TWO, of_job, of_node


def carried(summing: Summing) -> Summing:
    """Another that goes on with what this one has written down."""
    return Summing(kept=msgspec.msgpack.decode(msgspec.msgpack.encode(summing.kept()), type=Kept))


def batches() -> list[SampleBatch]:
    rows: list[tuple[Sample, ...]] = [
        (of_job(s, s * 300, s % 5), of_job(s, s * 100, 3, TWO), of_node(s, "rapl_energy", s * 8e6, ONE, TWO))
        for s in range(1, 9)
    ]
    ends = [SampleBatch("n1", (), ends=(JobEnd(job, "n1", 9),)) for job in (ONE, TWO)]
    return [*(SampleBatch("n1", row, METRICS) for row in rows), *ends]


def summed(given_: list[SampleBatch]) -> list[JobSummary]:
    summing = Summing()
    return [one for batch in given_ for one in summing.add(batch)]


PLAIN = summed(batches())


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 8)), max_size=5))
def test_a_crash_anywhere_with_batches_that_come_again_changes_no_summary(crashes: list[tuple[int, int]]) -> None:
    """After a crash summing goes on with what was written down, and takes batches from an earlier place on again."""
    told: dict[str, list[JobSummary]] = {}
    summing, place = Summing(), 0
    for written, back in [*crashes, (10, 0)]:
        for batch in batches()[place : max(place, written)]:
            for one in summing.add(batch):
                told.setdefault(one.job.job, []).append(one)
        summing = carried(summing)
        place = max(0, max(place, written) - back)
    for batch in batches()[place:]:
        for one in summing.add(batch):
            told.setdefault(one.job.job, []).append(one)
    assert told == {one.job.job: [one] for one in PLAIN}


def test_a_job_that_is_run_again_under_its_number_has_a_second_summary() -> None:
    summing = Summing()
    summing.add(SampleBatch("n1", (of_job(1, 1, 1), of_job(5, 9, 1)), METRICS))
    (first,) = summing.add(SampleBatch("n1", (), ends=(JobEnd(ONE, "n1", 6),)))
    summing.add(SampleBatch("n1", (of_job(5, 9, 1), of_job(9, 2, 1, since=8 * SECOND)), METRICS))
    (second,) = summing.add(SampleBatch("n1", (), ends=(JobEnd(ONE, "n1", 10),)))
    assert (first.first_ns, first.last_ns) == (SECOND, 5 * SECOND)
    assert (second.first_ns, second.samples) == (9 * SECOND, 1)
    assert summing.late == 1


def test_a_silent_job_that_is_heard_of_again_has_another_summary_at_its_end() -> None:
    summing = Summing()
    summing.add(SampleBatch("n1", (of_job(1, 100, 1),), METRICS))
    (early,) = summing.silent_since(5 * SECOND)
    summing.add(SampleBatch("n1", (of_job(9, 700, 1),), METRICS))
    (late,) = summing.add(SampleBatch("n1", (), ends=(JobEnd(ONE, "n1", 10),)))
    cpu = late.metric("cgroup_cpu_usage")
    assert (early.ended, late.ended) == (False, True)
    assert cpu is not None
    assert cpu.total == 700
