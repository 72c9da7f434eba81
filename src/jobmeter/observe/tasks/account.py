"""Adds up the tasks of jobs: those that live now, and those that have ended.

A job's total is what its ended tasks used plus what its living ones show. A task that ended belongs to the job where it
was listed; one that was never listed lived for less than a period, and belongs to the job of its process or its parent.
A child mostly ends before its parent, so it may have to wait until it is known where its parent belongs.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Generic, TypeVar

from jobmeter.observe.tasks.layout import BEGIN, ELAPSED, Row

K = TypeVar("K", bound=Hashable)
M = TypeVar("M")
Ended = tuple[int, int, int, M]


class _Job:
    """The tasks of one job. `leaving` were listed the last time and not this time, and no end was told."""

    __slots__ = ("dead", "leaving", "live")

    def __init__(self) -> None:
        self.dead: Row | None = None
        self.live: dict[int, Row] = {}
        self.leaving: dict[int, Row] = {}


class TaskAccount(Generic[K, M]):
    """Totals per job. Call `living` for every job, then `ended`, then `total`; `turn` ends the round.

    `row` gives the totals in the news of an end; most ends are of tasks of no job, and are not looked into. `touched`
    gathers the jobs that tasks have ended in, until somebody empties it.
    """

    def __init__(self, row: Callable[[M], Row]) -> None:
        self._row = row
        self._jobs: dict[K, _Job] = {}
        self._owner: dict[int, K] = {}
        self._owner_before: dict[int, K] = {}
        self._waiting: dict[int, list[Ended[M]]] = {}
        self._waiting_before: dict[int, list[Ended[M]]] = {}
        self._gone: dict[int, int] = {}
        self._gone_before: dict[int, int] = {}
        self.touched: set[K] = set()

    def living(self, job: K, rows: Mapping[int, Row]) -> None:
        """The tasks that a job has now. A task whose end was told before is a zombie, and counted already."""
        entry = self._jobs.get(job)
        if entry is None:
            entry = self._jobs[job] = _Job()
        live = {task: row for task, row in rows.items() if not self._is_gone(task, row)}
        for row in entry.leaving.values():
            entry.dead = added(entry.dead, row)
        entry.leaving = {task: row for task, row in entry.live.items() if task not in live}
        entry.live = live
        for task in live:
            self._owner[task] = job
        if self._waiting or self._waiting_before:
            for task in live:
                self._release(task, job)

    def ended(self, tasks: Iterable[Ended[M]]) -> None:
        """Tasks that have ended, in the order of their ends."""
        for each in tasks:
            task, parent, process, _ = each
            job = self._job_of(task, process, parent)
            if job is None:
                # a thread of a process that is not known waits for the process, a process for its parent
                self._waiting.setdefault(process if process not in (0, task) else parent, []).append(each)
            else:
                self._take(job, each)

    def total(self, job: K) -> Row | None:
        """What a job's tasks have used, None when none was ever seen."""
        entry = self._jobs.get(job)
        if entry is None:
            return None
        rows = [*entry.live.values(), *entry.leaving.values()]
        if entry.dead is not None:
            rows.append(entry.dead)
        return _sum(rows) if rows else None

    def is_empty(self, job: K) -> bool:
        """Whether all tasks of a job that were ever listed have ended."""
        entry = self._jobs.get(job)
        return entry is not None and not entry.live

    def turn(self, jobs: Iterable[K]) -> None:
        """End the round: forget jobs that are not among these, and what no round can need any more."""
        kept = set(jobs)
        for job in [job for job in self._jobs if job not in kept]:
            del self._jobs[job]
        self._owner_before, self._owner = self._owner, {}
        self._waiting_before, self._waiting = self._waiting, {}
        self._gone_before, self._gone = self._gone, {}

    def _job_of(self, task: int, process: int, parent: int) -> K | None:
        for number in (task, process, parent):
            job = self._owner.get(number)
            if job is None:
                job = self._owner_before.get(number)
            if job is not None:
                return job
        return None

    def _take(self, job: K, ended: Ended[M]) -> None:
        task, _, _, news = ended
        row = self._row(news)
        self._gone[task] = row[BEGIN]
        entry = self._jobs.get(job)
        if entry is None:
            return
        self.touched.add(job)
        entry.live.pop(task, None)
        entry.leaving.pop(task, None)
        entry.dead = added(entry.dead, row)
        self._owner[task] = job
        self._release(task, job)

    def _release(self, task: int, job: K) -> None:
        """Take in what waited to know where this task belongs."""
        for waiting in (self._waiting, self._waiting_before):
            for each in waiting.pop(task, ()):
                self._take(job, each)

    def _is_gone(self, task: int, row: Row) -> bool:
        begin = self._gone.get(task, self._gone_before.get(task))
        return begin is not None and begin == row[BEGIN]


def added(before: Row | None, row: Row) -> Row:
    """Two rows as one."""
    return row if before is None else _sum((before, row))


def _sum(rows: Iterable[Row]) -> Row:
    """The columns added up; of the times of begin the first, of the spans the longest."""
    columns = list(zip(*rows, strict=True))
    totals = list(map(sum, columns))
    totals[BEGIN] = min(filter(None, columns[BEGIN]), default=0)
    totals[ELAPSED] = max(columns[ELAPSED])
    return tuple(totals)
