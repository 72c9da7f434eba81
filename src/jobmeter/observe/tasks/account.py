"""Adds up the tasks of jobs: those that live now, and those that have ended.

A job's total is what its ended tasks used plus what its living ones show. A task that ended belongs to the job where it
was listed; one that was never listed lived for less than a period, and belongs to the job of its process or its parent.
A child mostly ends before its parent, so it may have to wait until it is known where its parent belongs.

Asking a task costs more than all else here, and most tasks of most nodes sleep. A process that has used no processor
time since its tasks were asked has done nothing: what they said still holds.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Hashable, Iterable, Mapping, Sequence
from typing import Generic, TypeVar

from jobmeter.observe.tasks.layout import BEGIN, ELAPSED, Row

K = TypeVar("K", bound=Hashable)
M = TypeVar("M")
Ended = tuple[int, int, int, M]
"""A task that has ended: its id, that of its parent and of its process (0: not known), and the news."""
Asked = tuple[int, int, Row]
"""A task that was asked: its id, that of its process (0: not known), and what it said."""

_LISTED_US = 30_000_000
_WAITING_MOST = 1 << 13
"""So many ends of tasks of nobody that is known may wait: on a busy node nearly all are of no job."""


class _Process:
    """The living tasks of one process, as asked at `asked_us`; `clock_ns` is what it had used shortly before.

    `rests` is set while it has used nothing since, so that its tasks need not be asked.
    """

    __slots__ = ("_total", "asked_us", "clock_ns", "rests", "rows")

    def __init__(self, asked_us: int, clock_ns: int | None) -> None:
        self.rows: dict[int, Row] = {}
        self.asked_us = asked_us
        self.clock_ns = clock_ns
        self.rests = False
        self._total: Row | None = None

    def look(self, clock_ns: int | None) -> None:
        """Take in what it has used now, None where that is not known."""
        self.rests = clock_ns is not None and clock_ns == self.clock_ns
        self.clock_ns = clock_ns

    def put(self, task: int, row: Row, now_us: int) -> None:
        """Add a task that was asked now."""
        self.rows[task] = _later(row, self.asked_us - now_us)
        self._total = None

    def left(self, present: Container[int]) -> dict[int, Row]:
        """Give up the tasks that are no longer present, and tell which these were."""
        gone = {task: row for task, row in self.rows.items() if task not in present}
        for task in gone:
            self.drop(task)
        return gone

    def drop(self, task: int) -> None:
        """Give up a task."""
        if self.rows.pop(task, None) is not None:
            self._total = None

    def total(self, now_us: int) -> Row:
        """Of all its tasks; the span of a task that rests has grown all the same."""
        if self._total is None:
            self._total = _sum(self.rows.values())
        return _later(self._total, now_us - self.asked_us)


class _Job:
    """The tasks of one job. `leaving` were listed the last time and not this time, and no end was told."""

    __slots__ = ("_living", "dead", "leaving", "listed_us", "live", "now_us")

    def __init__(self) -> None:
        self.dead: Row | None = None
        self.live: dict[int, _Process] = {}
        self.leaving: dict[int, Row] = {}
        self.listed_us = 0
        self.now_us = 0
        self._living: Row | None = None
        """All living tasks as of `listed_us`."""

    def list(self, now_us: int) -> None:
        """Begin to list its tasks anew. Those that had left the last time will not be told to have ended any more."""
        for row in self.leaving.values():
            self.dead = added(self.dead, row)
        self.leaving = {}
        self.listed_us = self.now_us = now_us
        self._living = None

    def total(self) -> Row | None:
        """Of all tasks it ever had, None when there was none."""
        ended = [*self.leaving.values(), *(() if self.dead is None else (self.dead,))]
        if not self.live:
            return _sum(ended) if ended else None
        if self._living is None:
            self._living = _sum([process.total(self.listed_us) for process in self.live.values()])
        living = _later(self._living, self.now_us - self.listed_us)
        return _sum([living, *ended]) if ended else living

    def add(self, task: int, number: int, row: Row, before: Mapping[int, _Process]) -> None:
        """A task of the process `number` that was asked now; `before` are the processes of the last time."""
        process = self.live.get(number)
        if process is None:
            known = before.get(number)
            process = self.live[number] = _Process(self.now_us, None if known is None else known.clock_ns)
        process.put(task, row, self.now_us)

    def drop(self, task: int, number: int) -> None:
        """Give up a task that has ended."""
        self.leaving.pop(task, None)
        self._living = None
        process = self.live.get(number)
        if process is not None:
            process.drop(task)
            if not process.rows:
                del self.live[number]


class TaskAccount(Generic[K, M]):
    """Totals per job. For every job ask those that are `stirring`, tell it `living`, then `ended`, then `total`.

    `turn` ends the round. `row` gives the totals in the news of an end; most ends are of tasks of no job, and are not
    looked into. `clock` tells what a process has used, None where it cannot be told. `touched` gathers the jobs that
    tasks have ended in, until somebody empties it.
    """

    def __init__(self, row: Callable[[M], Row], clock: Callable[[int], int | None]) -> None:
        self._row = row
        self._clock = clock
        self._jobs: dict[K, _Job] = {}
        self._owner: dict[int, K] = {}
        self._owner_before: dict[int, K] = {}
        self._waiting: dict[int, list[Ended[M]]] = {}
        self._waiting_before: dict[int, list[Ended[M]]] = {}
        self._gone: dict[int, int] = {}
        self._gone_before: dict[int, int] = {}
        self._waiting_count = 0
        self.given_up = 0
        """How many waited in vain because too many did."""
        self.touched: set[K] = set()

    def still(self, job: K, now_us: int) -> bool:
        """Nothing ran in this job since its tasks were asked, so they need not be. False: list them all the same.

        Now and then that is done for those that were moved into the job and did nothing there yet.
        """
        entry = self._jobs.get(job)
        if entry is None or not 0 <= now_us - entry.listed_us < _LISTED_US:
            return False
        entry.now_us = now_us
        self._belong(entry, job)
        return True

    def stirring(self, job: K, tasks: Sequence[int]) -> Sequence[int]:
        """Those of a job's tasks that must be asked: the others have done nothing since they were."""
        entry = self._jobs.get(job)
        if entry is None:
            return tasks
        resting: set[int] = set()
        for number, process in entry.live.items():
            process.look(self._clock(number))
            if process.rests:
                resting.update(process.rows)
        return [task for task in tasks if task not in resting] if resting else tasks

    def living(self, job: K, now_us: int, tasks: Sequence[int], asked: Iterable[Asked]) -> None:
        """The tasks that a job has now, and what those said that were asked.

        A task whose end was told before is a zombie, and counted already.
        """
        entry = self._jobs.get(job)
        if entry is None:
            entry = self._jobs[job] = _Job()
        entry.list(now_us)
        before, here = entry.live, frozenset(tasks)
        entry.live = {number: process for number, process in before.items() if process.rests}
        told: set[int] = set()
        for task, number, row in asked:
            if not self._is_gone(task, row):
                told.add(task)
                entry.add(task, number or task, row, before)
        for number, process in before.items():
            entry.leaving.update(process.left(here if process.rests else told))
            if not process.rows:
                entry.live.pop(number, None)
        self._belong(entry, job)

    def ended(self, tasks: Iterable[Ended[M]]) -> None:
        """Tasks that have ended, in the order of their ends."""
        for each in tasks:
            task, parent, process, _ = each
            job = self._job_of(task, process, parent)
            if job is None:
                # a thread of a process that is not known waits for the process, a process for its parent
                self._wait(process if process not in (0, task) else parent, each)
            else:
                self._take(job, each)

    def _wait(self, number: int, ended: Ended[M]) -> None:
        """Wait until it is known where a task belongs; where too many do, those that have waited longest do no more."""
        if self._waiting_count >= _WAITING_MOST and self._waiting:
            count = len(self._waiting.pop(next(iter(self._waiting))))
            self._waiting_count -= count
            self.given_up += count
        self._waiting.setdefault(number, []).append(ended)
        self._waiting_count += 1

    def total(self, job: K) -> Row | None:
        """What a job's tasks have used, None when none was ever seen."""
        entry = self._jobs.get(job)
        return None if entry is None else entry.total()

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
        self._waiting_before, self._waiting, self._waiting_count = self._waiting, {}, 0
        self._gone_before, self._gone = self._gone, {}

    def _belong(self, entry: _Job, job: K) -> None:
        """Know where the living tasks belong, and what waited to know that."""
        for process in list(entry.live.values()):
            self._owner.update(dict.fromkeys(process.rows, job))
            if self._waiting or self._waiting_before:
                for task in list(process.rows):
                    self._release(task, job)

    def _job_of(self, task: int, process: int, parent: int) -> K | None:
        for number in (task, process, parent):
            job = self._owner.get(number)
            if job is None:
                job = self._owner_before.get(number)
            if job is not None:
                return job
        return None

    def _take(self, job: K, ended: Ended[M]) -> None:
        if self._counted(job, ended):
            self._release(ended[0], job)

    def _counted(self, job: K, ended: Ended[M]) -> bool:
        """Count an ended task for a job; False where the job is gone."""
        task, _, number, news = ended
        row = self._row(news)
        self._gone[task] = row[BEGIN]
        entry = self._jobs.get(job)
        if entry is None:
            return False
        self.touched.add(job)
        entry.drop(task, number or task)
        entry.dead = added(entry.dead, row)
        self._owner[task] = job
        return True

    def _release(self, task: int, job: K) -> None:
        """Take in what waited to know where this task belongs, and what waited for that, however long the chain."""
        known = [task]
        while known:
            for each in self._waited_for(known.pop()):
                if self._counted(job, each):
                    known.append(each[0])

    def _waited_for(self, task: int) -> list[Ended[M]]:
        before = self._waiting_before.pop(task, [])
        now = self._waiting.pop(task, [])
        self._waiting_count -= len(now)
        return before + now if before else now

    def _is_gone(self, task: int, row: Row) -> bool:
        begin = self._gone.get(task, self._gone_before.get(task))
        return begin is not None and begin == row[BEGIN]


def added(before: Row | None, row: Row) -> Row:
    """Two rows as one."""
    return row if before is None else _sum((before, row))


def _later(row: Row, passed_us: int) -> Row:
    """What a task that did nothing would say so much later."""
    return (*row[:ELAPSED], row[ELAPSED] + passed_us, *row[ELAPSED + 1 :]) if passed_us else row


def _sum(rows: Iterable[Row]) -> Row:
    """The columns added up; of the times of begin the first, of the spans the longest."""
    columns = list(zip(*rows, strict=True))
    totals = list(map(sum, columns))
    totals[BEGIN] = min(filter(None, columns[BEGIN]), default=0)
    totals[ELAPSED] = max(columns[ELAPSED])
    return tuple(totals)
