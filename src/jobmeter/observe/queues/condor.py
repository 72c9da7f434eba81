"""HTCondor's queue and history, one condor_q and one condor_history per schedd.

Attributes come as JSON. Where queues have constraints, they are asked for as further columns of the same question,
evaluated by condor_q, so that the schedd is asked once (`-af:V`). Verified with HTCondor 23.9.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import msgspec
from msgspec import Struct, structs

from jobmeter.contract import Refused, SourceUnreadable
from jobmeter.observe.host import CommandFailed, CommandMissing, CommandTimedOut, Host
from jobmeter.observe.htcondor import json_form, values_form
from jobmeter.observe.htcondor.cursor import PLACES_MAX, until
from jobmeter.observe.htcondor.job import Job
from jobmeter.observe.htcondor.json_form import Broken, NotLiteral
from jobmeter.observe.queues.job import RUNNING, QueuedJob, QueueWanted
from jobmeter.observe.queues.source import Finished, Queued

ATTRIBUTES = (
    "Owner", "ClusterId", "ProcId", "GlobalJobId", "JobStatus", "JobUniverse", "RemoteWallClockTime", "ShadowBday",
    "ServerTime", "QDate", "JobStartDate", "CpusProvisioned", "MemoryProvisioned", "GPUsProvisioned", "CompletionDate",
)  # fmt: skip

STATES = {0: "unexpanded", 1: "idle", 2: "running", 3: "removed", 4: "finished", 5: "held", 6: "submission_err"}
"""The names that receivers know. HTCondor calls 6 transferring output; 7, suspended, has no name here."""

_HOLDING = frozenset({2, 6, 7})
_TRANSFERRING_OUTPUT = 6
_SCHEDULER_UNIVERSE = 7
_MARGIN = timedelta(days=1)
_LOCAL = ""


class Options(Struct, frozen=True):
    """How HTCondor is asked. Without schedds, the one that the local configuration names."""

    schedds: tuple[str, ...]
    pool: str | None
    timeout_seconds: float
    live_runtime: bool
    window_seconds: int
    exactly_once: bool


class _Cursor(Struct, frozen=True):
    """For each schedd the numbers of its newest jobs that were read in its history, the newest first."""

    newest: dict[str, tuple[str, ...]]
    version: int = 1


class Condor:
    """A BatchSystem; see `jobmeter.observe.queues.source`."""

    def __init__(self, options: Options, queues: Sequence[QueueWanted], host: Host) -> None:
        self._options = options
        self._host = host
        self._schedds = options.schedds or (_LOCAL,)
        self._expressions = {queue.name: f"({queue.constraint})" for queue in queues if queue.constraint.strip()}
        self._open = frozenset(queue.name for queue in queues) - set(self._expressions)

    def queued(self) -> Queued:
        """All jobs of all schedds. Raises SourceUnreadable when one of them does not answer: sums would be wrong."""
        found = self._with(self._expressions)
        return found if found is not None else self._one_by_one()

    def _with(self, expressions: Mapping[str, str]) -> Queued | None:
        """All jobs with the queues of these expressions; None when HTCondor does not understand one of them.

        condor_q leaves out the column of such an expression, so that no entry has all its values.
        """
        if not expressions:
            return self._all(self._literal, {})
        found = self._all(lambda argv: self._evaluated(argv, expressions), expressions)
        return None if found.odd and not found.jobs else found

    def _one_by_one(self) -> Queued:
        """As one expression makes no sense, each is asked for by itself, and costs its own queue only."""
        found = self._all(self._literal, {})
        inside: dict[str, set[str]] = {}
        told = []
        for name, expression in self._expressions.items():
            alone = self._with({name: expression})
            if alone is None:
                told.append(f"queue {name}: HTCondor does not understand {expression}")
            else:
                inside[name] = {job.identity for job in alone.jobs if name in job.queues}
        jobs = [
            structs.replace(job, queues=job.queues | {name for name, ids in inside.items() if job.identity in ids})
            for job in found.jobs
        ]
        return Queued(jobs, (*found.odd, *told), frozenset(self._expressions) - set(inside))

    def _all(self, ask: Callable[[list[str]], Iterator[Job | Refused]], expressions: Mapping[str, str]) -> Queued:
        jobs: list[QueuedJob] = []
        odd: list[str] = []
        for schedd in self._schedds:
            for entry in ask(["condor_q", *self._place(schedd), "-allusers"]):
                self._take(entry, jobs, odd, expressions)
        return Queued(jobs, tuple(odd))

    def finished(self, cursor: str | None) -> Finished:
        """What the histories hold that was not read before. Raises SourceUnreadable."""
        newest = _newest(cursor) if self._options.exactly_once else {}
        after, jobs = dict(newest), []
        odd: list[str] = []
        for schedd in self._schedds:
            found: list[QueuedJob] = []
            for entry in self._literal(self._history(schedd, newest.get(schedd, ()))):
                self._take(entry, found, odd, {})
            numbers = [*(job.number for job in found), *newest.get(schedd, ())]
            after[schedd] = tuple(dict.fromkeys(numbers))[:PLACES_MAX]
            jobs += found
        return Finished(jobs, msgspec.json.encode(_Cursor(after)).decode(), tuple(odd))

    def _history(self, schedd: str, newest: Sequence[str]) -> list[str]:
        completed = "JobStatus == 4"
        if newest:
            place = " || ".join(f"({until(number)})" for number in newest)
        else:
            since = self._host.clock.now() - timedelta(seconds=self._options.window_seconds)
            completed += f" && CompletionDate >= {int(since.timestamp())}"
            place = f"EnteredCurrentStatus < {int((since - _MARGIN).timestamp())}"
        return ["condor_history", *self._place(schedd), "-constraint", completed, "-since", place]

    def _place(self, schedd: str) -> list[str]:
        named = [] if schedd == _LOCAL else ["-name", schedd]
        return [*named, *([] if self._options.pool is None else ["-pool", self._options.pool])]

    def _literal(self, argv: list[str]) -> Iterator[Job | Refused]:
        chunks = self._printed([*argv, "-json", "-attributes", ",".join(ATTRIBUTES)])
        first = next((chunk for chunk in chunks if chunk.strip()), None)
        if first is None:
            return  # condor_q prints nothing at all where no job matches

        def rest() -> Iterator[bytes]:
            yield first
            yield from chunks

        try:
            yield from json_form.parse(rest(), frozenset())
        except (Broken, NotLiteral) as fault:
            raise SourceUnreadable(f"{argv[0]}: {fault}") from None

    def _evaluated(self, argv: list[str], expressions: Mapping[str, str]) -> Iterator[Job | Refused]:
        keys = [*ATTRIBUTES, *expressions.values()]
        frame = values_form.new_frame()
        yield from values_form.parse(self._printed([*argv, "-af:V", *values_form.arguments(keys, frame)]), keys, frame)

    def _printed(self, argv: list[str]) -> Iterator[bytes]:
        told: list[str] = []
        environment = {**self._host.environment, "LC_ALL": "C.UTF-8"}
        try:
            yield from self._host.stream(
                argv, environment=environment, timeout_seconds=self._options.timeout_seconds, told=told
            )
        except (CommandFailed, CommandMissing, CommandTimedOut) as fault:
            raise SourceUnreadable(str(fault)) from None

    def _take(
        self, entry: Job | Refused, jobs: list[QueuedJob], odd: list[str], expressions: Mapping[str, str]
    ) -> None:
        job = entry.reason if isinstance(entry, Refused) else self._job(entry, expressions)
        if isinstance(job, QueuedJob):
            jobs.append(job)
        else:
            odd.append(job)

    def _job(self, entry: Job, expressions: Mapping[str, str]) -> QueuedJob | str:
        owner, status = entry.get("Owner"), entry.status
        if not isinstance(owner, str) or status is None or "None" in entry.number:
            return f"job {entry.number} has no Owner, JobStatus, ClusterId or ProcId"
        return QueuedJob(
            user=owner,
            number=entry.number,
            identity=entry.global_id or entry.number,
            state=STATES.get(status, "unknown"),
            runtime_seconds=self._runtime(entry, status),
            queues=self._open | _matched(entry, expressions),
            counted=RUNNING if status == _TRANSFERRING_OUTPUT else None,
            counts=entry.get("JobUniverse") != _SCHEDULER_UNIVERSE,
            holds=status in _HOLDING,
            cores=_whole(entry, "CpusProvisioned"),
            memory_mib=_whole(entry, "MemoryProvisioned"),
            gpus=_whole(entry, "GPUsProvisioned"),
            submitted=_moment(entry, "QDate"),
            started=_moment(entry, "JobStartDate"),
        )

    def _runtime(self, entry: Job, status: int) -> int | None:
        """Seconds of all runs. The schedd adds the present run when it ends, so until then it is added here."""
        past = _whole(entry, "RemoteWallClockTime")
        began, now = _whole(entry, "ShadowBday"), _whole(entry, "ServerTime")
        if past is None or not self._options.live_runtime or status not in _HOLDING or not began or now is None:
            return past
        return past + max(0, now - began)


def _matched(entry: Job, expressions: Mapping[str, str]) -> frozenset[str]:
    # As for a constraint: a number other than 0 holds, what is undefined does not.
    return frozenset(name for name, key in expressions.items() if entry.get(key) not in (None, False, 0))


def _newest(cursor: str | None) -> dict[str, tuple[str, ...]]:
    if cursor is None:
        return {}
    try:
        return msgspec.json.decode(cursor, type=_Cursor).newest
    except (msgspec.MsgspecError, UnicodeError):
        return {}  # begins anew with the last minutes; what was told already is known by its identity


def _whole(entry: Job, name: str) -> int | None:
    value = entry.get(name)
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _moment(entry: Job, name: str) -> datetime | None:
    seconds = _whole(entry, name)
    if not seconds or not 0 < seconds < 2**36:
        return None
    return datetime.fromtimestamp(seconds, UTC)
