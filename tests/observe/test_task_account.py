"""Adding up tasks: who lives, who has ended, and to which job what ended in between belongs."""

from __future__ import annotations

from jobmeter.observe.tasks.account import Ended, TaskAccount
from jobmeter.observe.tasks.layout import BEGIN, ELAPSED, FIELDS, RUN, Row


def _account() -> TaskAccount[str, Row]:
    return TaskAccount(lambda row: row)


def _row(run: int, begin: int = 1000, elapsed: int = 1) -> Row:
    values = [0] * len(FIELDS)
    values[RUN], values[BEGIN], values[ELAPSED] = run, begin, elapsed
    return tuple(values)


def _end(task: int, parent: int, run: int, process: int = 0) -> Ended[Row]:
    return task, parent, process or task, _row(run)


def _run(account: TaskAccount[str, Row], job: str = "j") -> int | None:
    total = account.total(job)
    return None if total is None else total[RUN]


def test_a_task_that_ends_counts_once() -> None:
    account = _account()
    account.living("j", {10: _row(5), 11: _row(7)})
    account.turn(["j"])
    account.living("j", {11: _row(8)})
    account.ended([_end(10, 1, 6)])
    assert _run(account) == 14
    account.turn(["j"])
    account.living("j", {11: _row(9)})
    assert _run(account) == 15


def test_a_zombie_whose_end_was_told_counts_once() -> None:
    account = _account()
    account.living("j", {10: _row(5)})
    account.ended([_end(10, 1, 6)])
    account.turn(["j"])
    account.living("j", {10: _row(6)})
    assert _run(account) == 6


def test_a_task_never_listed_belongs_to_the_job_of_its_parent() -> None:
    account = _account()
    account.living("j", {10: _row(5)})
    account.turn(["j"])
    account.living("j", {10: _row(5)})
    account.ended([_end(20, 10, 3), _end(30, 99, 1000)])
    assert _run(account) == 8


def test_a_grandchild_that_ended_before_its_unlisted_parent_counts() -> None:
    account = _account()
    account.living("j", {10: _row(5)})
    account.ended([_end(22, 21, 3), _end(21, 10, 2)])
    assert _run(account) == 10


def test_a_child_waits_for_a_parent_that_is_listed_later() -> None:
    account = _account()
    account.living("j", {10: _row(5)})
    account.ended([_end(22, 21, 3)])
    account.turn(["j"])
    account.living("j", {10: _row(5), 21: _row(1)})
    assert _run(account) == 9


def test_a_thread_belongs_to_its_process() -> None:
    account = _account()
    account.living("j", {10: _row(5)})
    account.ended([_end(12, 1, 3, process=10), _end(13, 1, 4, process=50), _end(50, 10, 2)])
    assert _run(account) == 14


def test_a_task_that_left_the_job_keeps_what_it_used_there() -> None:
    account = _account()
    account.living("j", {10: _row(5), 11: _row(7)})
    for _ in range(3):
        account.turn(["j"])
        account.living("j", {11: _row(7)})
        assert _run(account) == 12


def test_the_first_beginning_and_the_longest_span_count() -> None:
    account = _account()
    account.living("j", {10: _row(1, begin=50, elapsed=9), 11: _row(1, begin=40, elapsed=3)})
    total = account.total("j")
    assert total is not None
    assert (total[BEGIN], total[ELAPSED]) == (40, 9)


def test_a_job_that_is_gone_is_forgotten() -> None:
    account = _account()
    account.living("j", {10: _row(1)})
    account.turn([])
    assert account.total("j") is None
    account.ended([_end(10, 1, 5)])
    assert account.total("j") is None
