from __future__ import annotations

from pathlib import Path

import pytest

from jobmeter.model.job import JobIdentity
from jobmeter.model.metric import Kind, Metric
from jobmeter.model.outcome import Accepted, Rejected
from jobmeter.model.sample import SampleBatch
from jobmeter.store.samples.fault import StoreTaken
from jobmeter.store.samples.reader import SampleStoreReader
from tests.store_samples.given import JOB, METRICS, START, asked, batch, column, opened, sample, seconds

OTHER = JobIdentity("slurm", "c1", "4712")


def test_what_was_written_is_read_from_the_log_and_from_the_segment(tmp_path: Path) -> None:
    with opened(tmp_path) as writer:
        assert writer.write(batch(sample(0, (1, 10)), sample(1, (2.5, None)))) == [Accepted(), Accepted()]
        (before,) = asked(tmp_path)
        writer.reopen()
        (after,) = asked(tmp_path)
    assert before == after
    assert seconds(after) == [0, 1]
    assert column(after, "cpu") == [1, 2.5]
    assert type(column(after, "cpu")[0]) is int
    assert column(after, "memory") == [10, None]
    assert after.columns[0].metric == METRICS[0]
    assert after.series.job == JOB


def test_parts_of_a_job_in_segments_and_log_are_one_table(tmp_path: Path) -> None:
    with opened(tmp_path) as writer:
        for second in range(30):
            writer.write(batch(sample(second, (second, 1))))
            if second % 4 == 3:
                writer.reopen()
        (table,) = asked(tmp_path, job="4711")
        assert column(table, "cpu") == list(range(30))


def test_repeats_and_late_samples_change_nothing_else(tmp_path: Path) -> None:
    with opened(tmp_path) as writer:
        writer.write(batch(sample(5, (5, 0)), sample(1, (1, 0)), sample(3, (3, 0))))
        writer.reopen()
        writer.write(batch(sample(3, (99, 0)), sample(2, (2, 0)), sample(5, (5, 0))))
        (table,) = asked(tmp_path)
        writer.reopen()
        assert asked(tmp_path) == [table]
    assert seconds(table) == [1, 2, 3, 5]
    assert column(table, "cpu") == [1, 2, 3, 5], "of two samples of one instant the first counts"


def test_jobs_nodes_and_periods_are_told_apart(tmp_path: Path) -> None:
    with opened(tmp_path) as writer:
        writer.write(
            batch(
                *(
                    sample(second, (second, 1), job, node)
                    for second in range(5)
                    for job in (JOB, OTHER)
                    for node in "ab"
                ),
                *(sample(second, (second, 1), None, "a", involved=(JOB,)[: second % 2]) for second in range(5)),
            )
        )
        for _ in range(2):
            assert {table.series.job for table in asked(tmp_path, job="4711")} == {JOB}
            assert [table.series.node for table in asked(tmp_path, job="4712", manager="slurm")] == ["a", "b"]
            assert asked(tmp_path, job="4712", manager="oar") == []
            assert [table.series.job for table in asked(tmp_path, node="a")] == [JOB, OTHER, None]
            (node,) = asked(tmp_path, node="a", node_only=True)
            assert node.series.job is None
            *_, of_node = asked(tmp_path, job="4711", involving=True)
            assert seconds(of_node) == [1, 3]
            (part,) = asked(tmp_path, job="4711", node="a", from_ns=START + 10**9, to_ns=START + 3 * 10**9)
            assert seconds(part) == [1, 2]
            (one,) = asked(tmp_path, job="4711", node="a", metrics=("memory",))
            assert [each.metric.name for each in one.columns] == ["memory"]
            writer.reopen()


def test_what_cannot_be_stored_is_refused_alone_with_the_reason(tmp_path: Path) -> None:
    with opened(tmp_path) as writer:
        outcomes = writer.write(
            batch(
                sample(0),
                sample(1, (2**63, 1)),
                sample(2, (1,)),
                sample(3, metrics=("cpu", "nobody")),
                sample(4, metrics=("cpu", "cpu")),
                sample(5, ("x", 1)),  # type: ignore[arg-type]
                sample(6),
            )
        )
        reasons = [one.reason if isinstance(one, Rejected) else None for one in outcomes]
        assert reasons == [
            None,
            "a whole number does not fit into 64 bits with a sign",
            "1 values for 2 metrics",
            "nobody has said in which unit nobody is",
            "it has a metric twice",
            "a value is neither a whole nor a floating number",
            None,
        ]
        (table,) = asked(tmp_path)
        assert seconds(table) == [0, 6]


def test_a_metric_keeps_its_unit(tmp_path: Path) -> None:
    with opened(tmp_path) as writer:
        writer.write(batch(sample(0)))
    with opened(tmp_path) as writer:
        other = Metric("cpu", "nanoseconds", Kind.COUNTER, "")
        (outcome,) = writer.write(SampleBatch("n1", (sample(1),), (other, METRICS[1])))
        assert outcome == Rejected("cpu is a counter in seconds here, not a counter in nanoseconds")
        assert writer.write(SampleBatch("n1", (sample(2),))) == [Accepted()]


def test_only_one_writes_and_the_next_one_may(tmp_path: Path) -> None:
    with opened(tmp_path), pytest.raises(StoreTaken), opened(tmp_path):
        pass
    with opened(tmp_path):
        pass


def test_two_stores_live_in_one_process(tmp_path: Path) -> None:
    with opened(tmp_path / "a") as one, opened(tmp_path / "b") as two:
        one.write(batch(sample(0, (1, 1))))
        two.write(batch(sample(0, (2, 2))))
        assert column(asked(tmp_path / "a")[0], "cpu") == [1]
        assert column(asked(tmp_path / "b")[0], "cpu") == [2]


def test_a_reader_that_stays_sees_what_comes_and_what_is_merged(tmp_path: Path) -> None:
    reader = SampleStoreReader(tmp_path)
    from jobmeter.model.series import SampleQuestion  # noqa: PLC0415

    with opened(tmp_path) as writer:
        for second in range(60):
            writer.write(batch(sample(second, (second, 1))))
            if second % 5 == 4:
                writer.reopen()
            if second % 20 == 19:
                writer.tidy()
            (table,) = reader.tables(SampleQuestion())
            assert column(table, "cpu") == list(range(second + 1))
        assert reader.state().segments < 12
    reader.close()


def test_a_full_head_is_sealed_and_memory_stays_bounded(tmp_path: Path) -> None:
    with opened(tmp_path, head_bytes=2**20) as writer:
        for second in range(0, 120_000, 1000):
            writer.write(batch(*(sample(second + i, (second + i, 7)) for i in range(1000))))
        reader = SampleStoreReader(tmp_path)
        state = reader.state()
        reader.close()
        assert state.segments >= 2
        assert state.values == 240_000
    (table,) = asked(tmp_path)
    assert column(table, "cpu") == list(range(120_000))
