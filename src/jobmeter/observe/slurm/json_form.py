"""The document that `sacct --json` prints, turned into the rows that the text form would have had.

The shapes are those seen with Slurm 22.05 (openapi/dbv0.0.38) and 24.11 (data_parser/v0.0.42). Between them a state
became a list, and an optional number an object `{set, infinite, number}`. Job times are 0 in 22.05, where sacct sums
the steps only for its table; so does this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from jobmeter.contract import Refused
from jobmeter.observe.shape.values import Unreadable
from jobmeter.observe.slurm.json_values import Entry, at, count, entries, moment, number, text
from jobmeter.observe.slurm.row import Row
from jobmeter.observe.slurm.values import duration_text


class NoDocument(ValueError):  # noqa: N818 - the name says the fact
    """What sacct printed is not its JSON document at all."""


def parse(text: str, columns: Sequence[str]) -> Iterator[Row | Refused]:
    """The rows of the document, each job followed by its steps, each with all `columns`, which `underivable` passes.

    Raises NoDocument. A job that is none is refused and the rest goes on.
    """
    try:
        document = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise NoDocument(f"sacct --json printed no JSON: {fault}") from None
    jobs = document.get("jobs") if isinstance(document, dict) else None
    if not isinstance(jobs, list):
        raise NoDocument("sacct --json printed JSON without a list of jobs")
    names = [column.lower() for column in columns]
    for job in jobs:
        yield from _rows(job, names)


def underivable(columns: Sequence[str]) -> tuple[str, ...]:
    """Those of `columns` whose text cannot be told from the JSON of every supported release."""
    return tuple(column for column in columns if column.lower() not in _OF_JOBS)


def _rows(job: object, names: Sequence[str]) -> Iterator[Row | Refused]:
    raw = msgspec.json.encode(job).decode()
    if not isinstance(job, dict):
        yield Refused(raw, "is not a job's JSON object")
        return
    try:
        row = Row({name: _OF_JOBS[name](job) for name in names}, raw)
        steps = [_step(row.values, step, names) for step in entries(job, "steps")]
    except Unreadable as fault:
        yield Refused(raw, str(fault))
        return
    if not row.is_sound:
        yield Refused(raw, f"{row.values['jobid']!r} is not the id of a job")
        return
    yield row
    yield from steps


def _step(job: Mapping[str, str], step: object, names: Sequence[str]) -> Row:
    entry: Entry = step if isinstance(step, dict) else {}
    name = text(entry, "step", "id")
    number, dot, rest = name.partition(".")
    suffix = rest if dot and number.isdigit() else name
    if not suffix:
        raise Unreadable("a step of the job has no id")
    values = {column: _OF_STEPS.get(column, _nothing)(entry) for column in names}
    values["jobid"] = f"{job['jobid']}.{suffix}"
    values["jobidraw"] = f"{job['jobidraw']}.{suffix}"
    return Row(values, suffix)


def _elapsed(entry: Entry, *path: str) -> str:
    seconds = number(entry, *path)
    return "" if seconds is None else duration_text(seconds)


def _microseconds(entry: Entry, name: str) -> int | None:
    seconds, rest = number(entry, "time", name, "seconds"), number(entry, "time", name, "microseconds")
    return None if seconds is None or rest is None else seconds * 1_000_000 + rest


def _cpu_of_step(name: str) -> Callable[[Entry], str]:
    def read(step: Entry) -> str:
        spent = _microseconds(step, name)
        return "" if spent is None else duration_text(0, spent)

    return read


def _cpu_of_job(name: str) -> Callable[[Entry], str]:
    def read(job: Entry) -> str:
        spent = _microseconds(job, name)
        if not spent:
            of_steps = [_microseconds(step, name) for step in entries(job, "steps") if isinstance(step, dict)]
            spent = sum(each for each in of_steps if each is not None)
        return duration_text(0, spent)

    return read


def _tres(entries: Sequence[Any], kind: str) -> str:
    for entry in entries:
        if isinstance(entry, dict) and entry.get("type") == kind:
            return count(entry, "count")
    return ""


def _usage(kind: str, statistic: str) -> Callable[[Entry], str]:
    return lambda step: _tres(entries(step, "tres", "requested", statistic), kind)


def _allocated(kind: str) -> Callable[[Entry], str]:
    return lambda entry: _tres(entries(entry, "tres", "allocated"), kind)


def _memory(job: Entry) -> str:
    requested = _tres(entries(job, "tres", "requested"), "mem")
    return f"{requested}M" if requested else ""


def _id(job: Entry) -> str:
    together, offset = number(job, "het", "job_id"), number(job, "het", "job_offset")
    if together and offset is not None:
        return f"{together}+{offset}"
    array, task = number(job, "array", "job_id"), number(job, "array", "task_id")
    if array and task is not None:
        return f"{array}_{task}"
    tasks = text(job, "array", "task")
    return f"{array}_[{tasks}]" if array and tasks else count(job, "job_id")


def _state(value: Any) -> str:
    names = [name for name in value if isinstance(name, str)] if isinstance(value, list) else [value]
    if "REQUEUED" in names:
        return "REQUEUED"  # 24.11 says PENDING and REQUEUED of such a run
    return names[0] if names and isinstance(names[0], str) else ""


def _limit_minutes(job: Entry) -> str:
    value = at(job, "time", "limit")
    if isinstance(value, dict) and value.get("infinite"):
        return "UNLIMITED"
    return count(job, "time", "limit")


def _limit(job: Entry) -> str:
    minutes = _limit_minutes(job)
    return duration_text(60 * int(minutes)) if minutes.lstrip("-").isdigit() else minutes


def _processor_seconds(entry: Entry) -> int | None:
    cpus, elapsed = _allocated("cpu")(entry), number(entry, "time", "elapsed")
    return None if not cpus or elapsed is None else int(cpus) * elapsed


def _processor_count(entry: Entry) -> str:
    spent = _processor_seconds(entry)
    return "" if spent is None else str(spent)


def _processor_time(entry: Entry) -> str:
    spent = _processor_seconds(entry)
    return "" if spent is None else duration_text(spent)


def _reservation(job: Entry) -> str:
    name = at(job, "reservation", "name")
    return name if isinstance(name, str) else ""


def _nothing(_: Entry) -> str:
    return ""


def _plain(*path: str) -> Callable[[Entry], str]:
    return lambda entry: text(entry, *path)


_BOTH: dict[str, Callable[[Entry], str]] = {
    "alloccpus": _allocated("cpu"),
    "cputime": _processor_time,
    "cputimeraw": _processor_count,
    "elapsed": lambda entry: _elapsed(entry, "time", "elapsed"),
    "elapsedraw": lambda entry: count(entry, "time", "elapsed"),
    "end": lambda entry: moment(entry, "time", "end"),
    "ncpus": _allocated("cpu"),
    "start": lambda entry: moment(entry, "time", "start"),
    "suspended": lambda entry: _elapsed(entry, "time", "suspended"),
}

_OF_JOBS: dict[str, Callable[[Entry], str]] = {
    **_BOTH,
    "account": _plain("account"),
    "admincomment": _plain("comment", "administrator"),
    "allocnodes": lambda job: count(job, "allocation_nodes"),
    "cluster": _plain("cluster"),
    "comment": _plain("comment", "job"),
    "eligible": lambda job: moment(job, "time", "eligible"),
    "group": _plain("group"),
    "jobid": _id,
    "jobidraw": lambda job: count(job, "job_id"),
    "jobname": _plain("name"),
    "maxpages": _nothing,
    "maxrss": _nothing,
    "maxvmsize": _nothing,
    "mcslabel": _plain("mcs", "label"),
    "nnodes": lambda job: count(job, "allocation_nodes"),
    "nodelist": _plain("nodes"),
    "ntasks": _nothing,
    "partition": _plain("partition"),
    "priority": lambda job: count(job, "priority"),
    "qos": _plain("qos"),
    "reqcpus": lambda job: count(job, "required", "CPUs"),
    "reqmem": _memory,
    "reservation": _reservation,
    "state": lambda job: _state(at(job, "state", "current")),
    "submit": lambda job: moment(job, "time", "submission"),
    "systemcomment": _plain("comment", "system"),
    "systemcpu": _cpu_of_job("system"),
    "timelimit": _limit,
    "timelimitraw": _limit_minutes,
    "totalcpu": _cpu_of_job("total"),
    "user": _plain("user"),
    "usercpu": _cpu_of_job("user"),
    "wckey": _plain("wckey", "wckey"),
    "workdir": _plain("working_directory"),
}

_OF_STEPS: dict[str, Callable[[Entry], str]] = {
    **_BOTH,
    "allocnodes": lambda step: count(step, "nodes", "count"),
    "jobname": _plain("step", "name"),
    "maxpages": _usage("pages", "max"),
    "maxrss": _usage("mem", "max"),
    "maxvmsize": _usage("vmem", "max"),
    "nnodes": lambda step: count(step, "nodes", "count"),
    "nodelist": _plain("nodes", "range"),
    "ntasks": lambda step: count(step, "tasks", "count"),
    "state": lambda step: _state(at(step, "state")),
    "submit": lambda step: moment(step, "time", "start"),
    "systemcpu": _cpu_of_step("system"),
    "totalcpu": _cpu_of_step("total"),
    "usercpu": _cpu_of_step("user"),
}
