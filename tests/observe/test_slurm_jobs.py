from __future__ import annotations

from datetime import timedelta

from jobmeter.observe.slurm.job import Job, gather, run_of, with_earlier_runs_marked
from jobmeter.observe.slurm.row import Row
from tests.observe.slurm_tables import BASE, row, step

SETTLE = timedelta(seconds=60)


def rows(*tables: dict[str, str]) -> list[Row]:
    return [Row({name.lower(): text for name, text in each.items()}, each["JobID"]) for each in tables]


def job(*tables: dict[str, str]) -> Job:
    jobs, refused = gather(rows(*tables))
    assert not refused
    return jobs[0]


def marks(*tables: dict[str, str], others: tuple[dict[str, str], ...] = ()) -> list[bool]:
    jobs, _ = gather(rows(*tables))
    runs = [run for other in gather(rows(*others))[0] if (run := run_of(other)) is not None]
    return [each.earlier for each in with_earlier_runs_marked(jobs, runs, SETTLE)]


def test_whatever_follows_the_first_dot_is_a_step() -> None:
    names = ["batch", "extern", "0", "12", "interactive", "tomorrow.kind"]
    found = job(row(), *(step("17", name) for name in names))
    assert [each.step for each in found.steps] == names


def test_steps_of_array_and_heterogeneous_jobs_find_their_job() -> None:
    jobs, refused = gather(
        rows(
            row(JobID="3_1", JobIDRaw="6"),
            step("3_1", "batch"),
            row(JobID="10+0"),
            step("10+0", "0"),
            row(JobID="10+1"),
        )
    )
    assert not refused
    assert [(each.row.job, len(each.steps)) for each in jobs] == [("3_1", 1), ("10+0", 1), ("10+1", 0)]


def test_a_step_without_its_job_is_refused() -> None:
    jobs, refused = gather(rows(step("17", "batch"), row(JobID="18")))
    assert [each.row.job for each in jobs] == ["18"]
    assert len(refused) == 1


def test_maxrss_is_the_largest_of_all_rows_whatever_its_suffix() -> None:
    found = job(row(), step("17", "batch", MaxRSS="6582272"), step("17", "0", MaxRSS="7000K"), step("17", "extern"))
    assert found.text("MaxRSS") == "7000K"
    assert job(row(), step("17", "0")).text("maxrss") == ""


def test_processor_time_that_the_job_lacks_is_the_sum_of_its_steps() -> None:
    found = job(row(TotalCPU=""), step("17", "batch", TotalCPU="00:59.500"), step("17", "0", TotalCPU="01:00:00"))
    assert found.text("TotalCPU") == "01:00:59"


def test_another_column_comes_from_the_batch_step_then_from_the_first_that_has_it() -> None:
    found = job(row(Comment=""), step("17", "0", Comment="zero"), step("17", "batch", Comment="batch"))
    assert found.text("Comment") == "batch"
    assert job(row(NCPUS=""), step("17", "extern", NCPUS="")).text("NCPUS") == ""


def test_a_requeued_run_is_an_earlier_one_and_the_last_keeps_the_plain_id() -> None:
    first = row(State="REQUEUED", End="2026-11-21T10:10:00")
    last = row(Submit="2026-11-21T10:10:00", Start="2026-11-21T10:12:00")
    assert marks(first, last) == [True, False]
    assert marks(first) == [True]
    assert marks(last) == [False]


def test_a_run_that_a_failed_node_ended_is_an_earlier_one_when_slurm_submitted_it_again() -> None:
    first = row(State="NODE_FAIL", End="2026-11-21T10:10:00")
    again = row(State="PENDING", Submit="2026-11-21T10:10:01", Start="Unknown", End="Unknown")
    assert marks(first, others=(again,)) == [True]
    assert marks(first) == [False]


def test_a_run_that_a_person_submits_again_later_has_kept_its_plain_id() -> None:
    first = row(State="FAILED", End="2026-11-21T10:10:00")
    later = row(Submit="2026-11-21T10:14:00", Start="2026-11-21T10:14:30", End="2026-11-21T10:20:00")
    assert marks(first, later) == [False, True]


def test_a_completed_run_is_never_renamed() -> None:
    first = row(State="COMPLETED", End="2026-11-21T10:10:00")
    later = row(Submit="2026-11-21T10:10:01", Start="2026-11-21T10:10:30", End="2026-11-21T10:20:00")
    assert marks(first, later) == [False, True]


def test_jobs_with_their_own_numbers_are_not_runs_of_each_other() -> None:
    assert marks(row(JobID="3_1", JobIDRaw="6"), row(JobID="3_2", JobIDRaw="7", Submit="2026-11-21T11:00:00")) == [
        False,
        False,
    ]


def test_a_step_that_has_not_ended_is_seen() -> None:
    assert job(row(), step("17", "batch", End="Unknown")).steps_run_on()
    assert not job(row(), step("17", "batch")).steps_run_on()
    assert BASE["End"]
