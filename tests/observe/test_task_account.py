"""Adding up tasks: who lives, who has ended, and to which job what ended in between belongs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from jobmeter.observe.tasks.account import Ended, TaskAccount
from jobmeter.observe.tasks.clock import used_ns
from jobmeter.observe.tasks.layout import BEGIN, ELAPSED, FIELDS, RUN, Row
from tests.process import eventually


class Clocks(dict[int, int]):
    """What processes have used; of one that is not in it, nothing is known."""


def _account(clocks: Clocks | None = None) -> TaskAccount[str, Row]:
    return TaskAccount(lambda row: row, (clocks or Clocks()).get)


def _live(account: TaskAccount[str, Row], rows: dict[int, Row], process: int = 0, now_us: int = 0) -> list[int]:
    """One more reading of the job `j`; gives the tasks that were asked."""
    asked = account.stirring("j", list(rows))
    account.living("j", now_us, list(rows), [(task, process, rows[task]) for task in asked])
    return list(asked)


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
    _live(account, {10: _row(5), 11: _row(7)})
    account.turn(["j"])
    _live(account, {11: _row(8)})
    account.ended([_end(10, 1, 6)])
    assert _run(account) == 14
    account.turn(["j"])
    _live(account, {11: _row(9)})
    assert _run(account) == 15


def test_a_zombie_whose_end_was_told_counts_once() -> None:
    account = _account()
    _live(account, {10: _row(5)})
    account.ended([_end(10, 1, 6)])
    account.turn(["j"])
    _live(account, {10: _row(6)})
    assert _run(account) == 6


def test_a_task_never_listed_belongs_to_the_job_of_its_parent() -> None:
    account = _account()
    _live(account, {10: _row(5)})
    account.turn(["j"])
    _live(account, {10: _row(5)})
    account.ended([_end(20, 10, 3), _end(30, 99, 1000)])
    assert _run(account) == 8


def test_a_grandchild_that_ended_before_its_unlisted_parent_counts() -> None:
    account = _account()
    _live(account, {10: _row(5)})
    account.ended([_end(22, 21, 3), _end(21, 10, 2)])
    assert _run(account) == 10


def test_a_child_waits_for_a_parent_that_is_listed_later() -> None:
    account = _account()
    _live(account, {10: _row(5)})
    account.ended([_end(22, 21, 3)])
    account.turn(["j"])
    _live(account, {10: _row(5), 21: _row(1)})
    assert _run(account) == 9


def test_a_thread_belongs_to_its_process() -> None:
    account = _account()
    _live(account, {10: _row(5)})
    account.ended([_end(12, 1, 3, process=10), _end(13, 1, 4, process=50), _end(50, 10, 2)])
    assert _run(account) == 14


def test_a_task_that_left_the_job_keeps_what_it_used_there() -> None:
    account = _account()
    _live(account, {10: _row(5), 11: _row(7)})
    for _ in range(3):
        account.turn(["j"])
        _live(account, {11: _row(7)})
        assert _run(account) == 12


def test_the_first_beginning_and_the_longest_span_count() -> None:
    account = _account()
    _live(account, {10: _row(1, begin=50, elapsed=9), 11: _row(1, begin=40, elapsed=3)})
    total = account.total("j")
    assert total is not None
    assert (total[BEGIN], total[ELAPSED]) == (40, 9)


def test_a_job_that_is_gone_is_forgotten() -> None:
    account = _account()
    _live(account, {10: _row(1)})
    account.turn([])
    assert account.total("j") is None
    account.ended([_end(10, 1, 5)])
    assert account.total("j") is None


def test_tasks_of_a_process_that_used_nothing_are_not_asked_again() -> None:
    clocks = Clocks({10: 500, 20: 700})
    account = _account(clocks)
    rows = {10: _row(5), 11: _row(7)}
    assert _live(account, rows, process=10) == [10, 11]
    assert _live(account, rows, process=10) == [10, 11]  # what it had used when it was asked first is not known
    assert _live(account, rows, process=10) == []
    assert _run(account) == 12
    clocks[10] = 501
    assert _live(account, {10: _row(6), 11: _row(7)}, process=10) == [10, 11]
    assert _run(account) == 13


def test_the_span_of_a_task_that_rests_grows() -> None:
    account = _account(Clocks({10: 500}))
    for now_us in (0, 10, 20, 30):
        _live(account, {10: _row(5, elapsed=100 + now_us)}, process=10, now_us=now_us)
        total = account.total("j")
        assert total is not None
        assert total[ELAPSED] == 100 + now_us


def test_a_task_that_ends_or_leaves_while_its_process_rests_counts_once() -> None:
    account = _account(Clocks({10: 500}))
    for _ in range(3):
        _live(account, {10: _row(5), 11: _row(7), 12: _row(9)}, process=10)
    account.ended([(11, 1, 10, _row(8))])
    assert _run(account) == 22
    assert _live(account, {10: _row(5)}, process=10) == []
    assert _run(account) == 22
    assert _live(account, {10: _row(5)}, process=10) == []
    assert _run(account) == 22


def test_a_thread_that_comes_to_a_process_that_rests_is_asked_alone() -> None:
    account = _account(Clocks({10: 500}))
    for now_us in (0, 10, 20):
        _live(account, {10: _row(5, elapsed=now_us)}, process=10, now_us=now_us)
    assert _live(account, {10: _row(5), 11: _row(2, elapsed=90)}, process=10, now_us=30) == [11]
    total = account.total("j")
    assert total is not None
    assert (total[RUN], total[ELAPSED]) == (7, 90)


def test_where_the_kernel_tells_no_processes_all_tasks_are_asked() -> None:
    account = _account()
    for _ in range(3):
        assert _live(account, {10: _row(5), 11: _row(7)}) == [10, 11]
        assert _run(account) == 12


def test_a_job_in_which_nothing_ran_is_listed_now_and_then_only() -> None:
    account = _account(Clocks({10: 500}))
    assert not account.still("j", 0)
    _live(account, {10: _row(5, elapsed=100), 11: _row(7, elapsed=40)}, process=10)
    account.ended([(11, 1, 10, _row(8, elapsed=41))])
    assert account.still("j", 10_000_000)
    total = account.total("j")
    assert total is not None
    assert (total[RUN], total[ELAPSED]) == (13, 10_000_100)
    for _ in range(3):
        account.turn(["j"])
        assert account.still("j", 20_000_000)
    account.ended([_end(20, 10, 3)])
    assert _run(account) == 16
    assert not account.still("j", 30_000_000)


def test_the_span_of_an_ended_task_grows_no_more() -> None:
    account = _account()
    _live(account, {10: _row(5, elapsed=900), 11: _row(7, elapsed=40)})
    account.ended([(10, 1, 10, _row(6, elapsed=901))])
    assert account.still("j", 800)
    total = account.total("j")
    assert total is not None
    assert total[ELAPSED] == 901


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_the_clock_of_a_process_stands_while_it_sleeps_and_goes_with_each_of_its_threads() -> None:
    code = (
        "import sys, threading, time\nprint(flush=True)\nsys.stdin.readline()\n"
        "def burn():\n    end = time.thread_time() + 0.05\n    while time.thread_time() < end: pass\n"
        "threading.Thread(target=burn).start()\nprint(flush=True)\nsys.stdin.readline()\n"
    )
    words = [sys.executable, "-S", "-c", code]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        eventually(lambda: state(process.pid) == "S")  # and nothing but our line wakes it
        before = used_ns(process.pid) or -1
        assert used_ns(process.pid) == before > 0
        process.stdin.write("\n")
        process.stdin.flush()
        process.stdout.readline()
        eventually(lambda: (used_ns(process.pid) or 0) >= before + 50_000_000)
        process.stdin.write("\n")
    assert used_ns(process.pid) is None


def test_a_long_chain_of_processes_that_ended_each_before_its_parent_counts() -> None:
    account = _account()
    account.ended([_end(task, task - 1, 1) for task in range(5000, 10, -1)])
    _live(account, {10: _row(0)})
    account.ended([_end(10, 1, 1)])
    assert _run(account) == 4991


def test_of_ever_so_many_ends_of_nobody_only_the_last_wait() -> None:
    account = _account()
    account.ended([_end(task, task + 1_000_000, 1) for task in range(100, 100_100)])
    _live(account, {1_100_099: _row(0), 1_000_100: _row(0)})
    account.ended([_end(1_100_099, 1, 0), _end(1_000_100, 1, 0)])
    assert _run(account) == 1
    assert account.given_up == 100_000 - (1 << 13)
