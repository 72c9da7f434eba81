"""Rows become jobs: the row of one run of a job together with the rows of its steps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from msgspec import Struct

from jobmeter.contract import Refused
from jobmeter.observe.shape.values import Unreadable, size_bytes
from jobmeter.observe.slurm.columns import CPU_TIMES, MAXIMA
from jobmeter.observe.slurm.row import Row
from jobmeter.observe.slurm.states import EARLIER_RUN_STATES, base_state
from jobmeter.observe.slurm.values import ABSENT, duration_text, milliseconds, moment

_TIMES = frozenset({"start", "end", "submit", "eligible"})


NO_NODES = "None assigned"
"""What sacct prints as NodeList of a job that has not started, in its table and in its JSON."""


class Job(Struct, frozen=True):
    """One run of a job. `earlier` says that another run of the same job has taken its plain id over."""

    row: Row
    steps: tuple[Row, ...]
    earlier: bool = False

    @property
    def name(self) -> str:
        """The job's id as sacct prints it."""
        return self.row.job

    @property
    def state(self) -> str:
        """The state's name without further words."""
        return base_state(self.row.values["state"])

    @property
    def raw(self) -> str:
        """The entries of the job and its steps as the source gave them."""
        return "\n".join((self.row.raw, *(step.raw for step in self.steps)))

    def moment(self, column: str) -> datetime | None:
        """A time of the job itself, None when it has none. Raises Unreadable."""
        text = self.row.values[column.lower()]
        return None if text in ABSENT else moment(text)

    def text(self, column: str) -> str:
        """The job's value of a column, "" when there is none.

        It is that of the job's own row; for a maximum (MaxRSS) the largest of all rows; where the job's row has none,
        the sum of the steps for processor times, else the value of the batch step, else of the first step that has one.
        """
        name = column.lower()
        own = self.row.values[name]
        if name in _TIMES and own in ABSENT:
            return ""
        if name in MAXIMA:
            return _largest([own, *(step.values[name] for step in self.steps)])
        if own:
            return own
        of_steps = [step.values[name] for step in self._batch_first() if step.values[name]]
        if name in CPU_TIMES and len(of_steps) > 1:
            return _sum(of_steps)
        return of_steps[0] if of_steps else ""

    def has_started(self) -> bool:
        """Whether the job ever had nodes.

        A job that was cancelled while it was held or waited for its time has its end as its start (Slurm 22.05).
        """
        return self.row.values["start"] not in ABSENT and self.row.values["nodelist"] != NO_NODES

    def steps_run_on(self) -> bool:
        """Whether a step is not stored as ended yet, though its job is: the rest of its usage comes a little later."""
        return any(step.values["end"] in ABSENT for step in self.steps)

    def _batch_first(self) -> Sequence[Row]:
        return sorted(self.steps, key=lambda step: step.step != "batch")


class Run(Struct, frozen=True):
    """What tells the runs of one job apart. `submit` orders them: each requeueing submits the job anew."""

    raw_job: str
    submit: datetime
    start: datetime | None
    end: datetime | None
    state: str


def gather(entries: Iterable[Row | Refused]) -> tuple[list[Job], list[Refused]]:
    """The jobs, each with the step rows that follow it, and what cannot belong to any."""
    jobs: list[tuple[Row, list[Row]]] = []
    newest: dict[str, list[Row]] = {}
    refused: list[Refused] = []
    for entry in entries:
        if isinstance(entry, Refused):
            refused.append(entry)
        elif entry.step is None:
            jobs.append((entry, []))
            newest[entry.job] = jobs[-1][1]
        elif entry.job in newest:
            newest[entry.job].append(entry)
        else:
            refused.append(Refused(entry.raw, "is a step, and the row of its job did not come before it"))
    return [Job(row, tuple(steps)) for row, steps in jobs], refused


def run_of(job: Job) -> Run | None:
    """The run that a job's row tells of, None when its times cannot be read."""
    try:
        submit, start, end = (job.moment(column) for column in ("submit", "start", "end"))
    except Unreadable:
        return None
    return None if submit is None else Run(job.row.raw_job, submit, start, end, job.state)


def doubtful(jobs: Iterable[Job], settle: timedelta) -> Iterator[Job]:
    """The jobs that may have run again without their own state saying so, as after the failure of a node."""
    if settle:
        yield from (job for job in jobs if job.state not in EARLIER_RUN_STATES and job.state != "COMPLETED")


def with_earlier_runs_marked(jobs: Sequence[Job], others: Iterable[Run], settle: timedelta) -> list[Job]:
    """The jobs, those marked that are an earlier run.

    Of all runs of a job one keeps the plain id: the first that was not followed at once, within `settle`, by another
    submission, which is what Slurm itself does when it requeues. This can be told as soon as a job is taken, and no
    later reading tells it otherwise: a record never changes its name.
    """
    runs: dict[str, set[Run]] = {}
    for run in (*others, *(found for job in jobs if (found := run_of(job)) is not None)):
        runs.setdefault(run.raw_job, set()).add(run)
    return [_marked(job, runs.get(job.row.raw_job, set()), settle) for job in jobs]


def _marked(job: Job, runs: set[Run], settle: timedelta) -> Job:
    own = run_of(job)
    if own is None or (len(runs) < 2 and own.state not in EARLIER_RUN_STATES):
        return job
    in_order = sorted(runs, key=lambda run: (run.submit, run.end is None))
    for place, run in enumerate(in_order):
        following = in_order[place + 1] if place + 1 < len(in_order) else None
        if not _goes_on(run, following, settle):
            return job if run == own else Job(job.row, job.steps, earlier=True)
    return job if own.state not in EARLIER_RUN_STATES else Job(job.row, job.steps, earlier=True)


def _goes_on(run: Run, following: Run | None, settle: timedelta) -> bool:
    if run.state in EARLIER_RUN_STATES:
        return True
    if following is None or run.end is None or run.state == "COMPLETED":
        return False
    return following.submit - run.end <= settle


def _largest(texts: Sequence[str]) -> str:
    """The text of the largest size; one that is no size only when there is no other."""
    best, largest = "", -1
    for text in texts:
        try:
            size = size_bytes(text)
        except Unreadable:
            best = best or text
            continue
        if size > largest:
            best, largest = text, size
    return best


def _sum(texts: Sequence[str]) -> str:
    try:
        total = sum(milliseconds(text) for text in texts)
    except Unreadable:
        return texts[0]
    return duration_text(total // 1000, total % 1000 * 1000)
