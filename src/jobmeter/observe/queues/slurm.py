"""Slurm's queue and its finished jobs: one squeue and one sacct. Verified with Slurm 22.05 and 24.11."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec
from msgspec import Struct

from jobmeter.contract import SourceUnreadable
from jobmeter.observe.host import CommandFailed, CommandMissing, CommandTimedOut, Host, OutputTooLarge
from jobmeter.observe.queues.job import QueuedJob, QueueWanted
from jobmeter.observe.queues.source import Finished, Queued

_OUTPUT_MAX_BYTES = 2**29
_OVERLAP_SECONDS = 900
"""slurmdbd may learn of an end late; what is read twice is known by its identity."""
_PARTS = re.compile(r"(?:(?:(\d+)-)?(\d+):)?(\d+):(\d+)", re.ASCII)
_TRES = re.compile(r"(?:^|,)(cpu|mem|gres/gpu)=([\d.]+)([KMGTP]?)", re.ASCII)
_MIB = {"": 1 / 1024**2, "K": 1 / 1024, "M": 1.0, "G": 1024.0, "T": 1024.0**2, "P": 1024.0**3}
_HELD = frozenset({"JobHeldUser", "JobHeldAdmin", "job_requeued_in_held_state", "JobHoldMaxRequeue"})
_STATES = {
    "PENDING": "idle", "REQUEUED": "idle", "REQUEUE_HOLD": "held", "SPECIAL_EXIT": "held", "RUNNING": "running",
    "COMPLETING": "running", "CONFIGURING": "running", "STAGE_OUT": "running", "SIGNALING": "running",
    "RESIZING": "running", "COMPLETED": "finished",
}  # fmt: skip
_FINISHED = ("COMPLETED", "FAILED", "TIMEOUT", "OUT_OF_MEMORY", "DEADLINE")
_CONDITIONS = frozenset({"partition", "qos", "account", "user"})
_SQUEUE = ("JobArrayID", "UserName", "StateCompact", "State", "Partition", "QOS", "Account", "TimeUsed", "SubmitTime")
_SQUEUE_MORE = ("StartTime", "Reason", "tres-alloc")
_SACCT = ("JobID", "JobIDRaw", "User", "State", "ElapsedRaw", "End", "Submit", "Start", "AllocTRES")


class Options(Struct, frozen=True):
    """How Slurm is asked."""

    clusters: tuple[str, ...]
    timeout_seconds: float
    window_seconds: int
    exactly_once: bool


class _Cursor(Struct, frozen=True):
    through: datetime
    version: int = 1


class Slurm:
    """A BatchSystem; see `jobmeter.observe.queues.source`."""

    def __init__(self, options: Options, queues: Sequence[QueueWanted], host: Host) -> None:
        self._options = options
        self._host = host
        self._queues = {queue.name: conditions(queue.constraint) for queue in queues}

    def queued(self) -> Queued:
        """All jobs, each task of a waiting array by itself. Raises SourceUnreadable."""
        fields = ",".join(f"{name}:255|" for name in (*_SQUEUE, *_SQUEUE_MORE))
        argv = ["squeue", *self._clusters(), "--all", "--array", "--noheader", "--Format", fields]
        jobs: list[QueuedJob] = []
        odd: list[str] = []
        for line in self._printed(argv).splitlines():
            job = self._job(line)
            if isinstance(job, QueuedJob):
                jobs.append(job)
            elif job:
                odd.append(job)
        return Queued(jobs, tuple(odd))

    def finished(self, cursor: str | None) -> Finished:
        """What ended since. Raises SourceUnreadable."""
        now = self._host.clock.now()
        since = _since(cursor) if self._options.exactly_once else None
        if since is None:
            since = now - timedelta(seconds=self._options.window_seconds)
        else:
            since -= timedelta(seconds=_OVERLAP_SECONDS)
        argv = ["sacct", *self._clusters(), "--allusers", "--allocations", "--duplicates", "--noheader"]
        argv += ["--parsable2", f"--format={','.join(_SACCT)}", f"--state={','.join(_FINISHED)}"]
        argv += [f"--starttime={_asked(since)}", f"--endtime={_asked(now)}"]
        jobs, odd = ended(self._printed(argv), since)
        return Finished(jobs, msgspec.json.encode(_Cursor(now)).decode(), tuple(odd))

    def _clusters(self) -> list[str]:
        return [f"--clusters={','.join(self._options.clusters)}"] if self._options.clusters else []

    def _printed(self, argv: list[str]) -> str:
        environment = {**self._host.environment, "LC_ALL": "C.UTF-8", "TZ": "UTC", "SLURM_TIME_FORMAT": "standard"}
        try:
            return self._host.run(
                argv,
                environment=environment,
                timeout_seconds=self._options.timeout_seconds,
                output_max_bytes=_OUTPUT_MAX_BYTES,
            ).text
        except (CommandFailed, CommandMissing, CommandTimedOut, OutputTooLarge) as fault:
            raise SourceUnreadable(str(fault)) from None

    def _job(self, line: str) -> QueuedJob | str:
        if line.startswith("CLUSTER:") or not line.strip():
            return ""
        names = [*_SQUEUE, *_SQUEUE_MORE]
        values = [value.strip() for value in line.split("|")]
        if len(values) != len(names) + 1:
            return f"squeue printed {len(values) - 1} values instead of {len(names)}"
        job = dict(zip(names, values, strict=False))
        state = _STATES.get(job["State"], "unknown")
        if state == "idle" and job["Reason"] in _HELD:
            state = "held"
        tres = allocated(job["tres-alloc"]) if state not in {"idle", "held"} else {}
        return QueuedJob(
            user=job["UserName"],
            number=job["JobArrayID"],
            identity=f"slurm {job['JobArrayID']} {job['SubmitTime']}",
            state=state,
            runtime_seconds=seconds(job["TimeUsed"]),
            queues=frozenset(name for name, asked in self._queues.items() if _holds(asked, job)),
            holds=bool(tres),
            cores=tres.get("cpu"),
            memory_mib=tres.get("mem"),
            gpus=tres.get("gres/gpu"),
            submitted=moment(job["SubmitTime"]),
            started=None if state in ("idle", "held") else moment(job["StartTime"]),
        )


def conditions(text: str) -> dict[str, frozenset[str]]:
    """What a queue's constraint asks for: the values of each key that serve. Raises ValueError."""
    found: dict[str, frozenset[str]] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, mark, value = (word.strip() for word in part.partition("="))
        if not mark or key.lower() not in _CONDITIONS or not value:
            raise ValueError(f"{part!r} is not KEY=VALUE with one of {', '.join(sorted(_CONDITIONS))}")
        found[key.lower()] = found.get(key.lower(), frozenset()) | {value}
    return found


def _holds(asked: dict[str, frozenset[str]], job: dict[str, str]) -> bool:
    names = {"partition": "Partition", "qos": "QOS", "account": "Account", "user": "UserName"}
    # A waiting job may name several partitions.
    return all(not values.isdisjoint(job[names[key]].split(",")) for key, values in asked.items())


def ended(text: str, since: datetime) -> tuple[list[QueuedJob], list[str]]:
    """The jobs of sacct's lines that ended since, the newest first, and what made no sense."""
    found: list[tuple[datetime, QueuedJob]] = []
    odd = []
    for line in filter(None, text.splitlines()):
        values = line.split("|")
        if len(values) != len(_SACCT):
            odd.append(f"sacct printed {len(values)} values instead of {len(_SACCT)}")
            continue
        job = dict(zip(_SACCT, values, strict=True))
        end = moment(job["End"])
        if end is None or end < since:
            continue
        tres = allocated(job["AllocTRES"])
        queued = QueuedJob(
            user=job["User"],
            number=job["JobID"],
            # The job's number may be given again years later, a requeued job ends several times.
            identity=f"slurm {job['JobIDRaw']} {job['Start']}",
            state="finished",
            runtime_seconds=int(job["ElapsedRaw"]) if job["ElapsedRaw"].isdecimal() else None,
            cores=tres.get("cpu"),
            memory_mib=tres.get("mem"),
            gpus=tres.get("gres/gpu"),
            submitted=moment(job["Submit"]),
            started=moment(job["Start"]),
        )
        found.append((end, queued))
    found.sort(key=lambda pair: pair[0], reverse=True)
    return [job for _, job in found], odd


def allocated(text: str) -> dict[str, int]:
    """The whole numbers in a TRES text: cpu, mem in MiB, gres/gpu."""
    found = {}
    for name, amount, unit in _TRES.findall(text):
        found[name] = round(float(amount) * _MIB[unit]) if name == "mem" else int(float(amount))
    return found


def seconds(text: str) -> int | None:
    """The seconds of `[DAYS-]HOURS:MINUTES:SECONDS` or `MINUTES:SECONDS`."""
    match = _PARTS.fullmatch(text)
    if match is None:
        return None
    days, hours, minutes, rest = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + rest


def moment(text: str) -> datetime | None:
    """A time that Slurm printed in UTC; None for Unknown, None, N/A."""
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return None


def _since(cursor: str | None) -> datetime | None:
    try:
        return None if cursor is None else msgspec.json.decode(cursor, type=_Cursor).through
    except (msgspec.MsgspecError, UnicodeError):
        return None


def _asked(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
