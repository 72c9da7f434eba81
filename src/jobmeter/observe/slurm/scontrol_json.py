"""What `scontrol show job --json` prints of one job, under the names that the text form has.

JSON exists since Slurm 23.02; the shapes are those of 24.11 (data_parser/v0.0.42), where numbers that may be absent are
objects `{set, infinite, number}` and a state is a list of words.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from jobmeter.observe.shape.values import Unreadable
from jobmeter.observe.slurm.json_values import Entry, count, moment, number, text
from jobmeter.observe.slurm.values import duration_text


class NoDocument(ValueError):  # noqa: N818 - the name says the fact
    """What scontrol printed is not its JSON document at all, or does not hold the job."""


def parse(printed: str, job: int) -> dict[str, str]:
    """The values of the job with this number, absent where there are none. Raises NoDocument or Unreadable."""
    try:
        document = msgspec.json.decode(printed)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise NoDocument(f"scontrol --json printed no JSON: {fault}") from None
    jobs = document.get("jobs") if isinstance(document, dict) else None
    if not isinstance(jobs, list):
        raise NoDocument("scontrol --json printed JSON without a list of jobs")
    for entry in jobs:
        if isinstance(entry, dict) and entry.get("job_id") == job:
            return {name: value for name, read in _CATALOGUE.items() if (value := read(entry))}
    raise NoDocument(f"scontrol --json did not print the job {job}")


def given(key: str) -> bool:
    """Whether the JSON form has the value that the text form calls so."""
    return key in _CATALOGUE


def _count(name: str) -> Callable[[Entry], str]:
    return lambda entry: count(entry, name)


def _of_set(name: str, owner: str) -> Callable[[Entry], str]:
    """A number that counts only where `owner` names a job: 0 stands for none there."""
    return lambda entry: count(entry, name) if number(entry, owner) else ""


def _text(name: str) -> Callable[[Entry], str]:
    return lambda entry: text(entry, name)


def _moment(name: str) -> Callable[[Entry], str]:
    return lambda entry: moment(entry, name)


def _named(what: str) -> Callable[[Entry], str]:
    """`alice(5001)`: the name and number of the user or group."""

    def read(entry: Entry) -> str:
        own = count(entry, f"{what}_id")
        name = text(entry, f"{what}_name") or own
        return f"{name}({own})" if name else ""

    return read


def _state(entry: Entry) -> str:
    value = entry.get("job_state")
    words = [word for word in value if isinstance(word, str)] if isinstance(value, list) else [value]
    return ",".join(word for word in words if isinstance(word, str))


def _run_time(entry: Entry) -> str:
    start, end = number(entry, "start_time"), number(entry, "end_time")
    if not start or not end or end < start or "PENDING" in _state(entry):
        return ""
    return duration_text(end - start)


def _limit(entry: Entry) -> str:
    value = entry.get("time_limit")
    if isinstance(value, dict) and value.get("infinite"):
        return "UNLIMITED"
    minutes = number(entry, "time_limit")
    return "" if minutes is None else duration_text(60 * minutes)


def _memory(entry: Entry) -> str:
    """The memory of all nodes together, in MiB."""
    resources = entry.get("job_resources")
    nodes = resources.get("nodes") if isinstance(resources, dict) else None
    found = nodes.get("allocation") if isinstance(nodes, dict) else None
    if not isinstance(found, list) or not found:
        return ""
    total = 0
    for node in found:
        memory = node.get("memory") if isinstance(node, dict) else None
        amount = number(memory, "allocated") if isinstance(memory, dict) else None
        if amount is None:
            raise Unreadable("a node of the job has no memory")
        total += amount
    return str(total)


_CATALOGUE: dict[str, Callable[[Entry], str]] = {
    "JobId": _count("job_id"),
    "ArrayJobId": _of_set("array_job_id", "array_job_id"),
    "ArrayTaskId": _of_set("array_task_id", "array_job_id"),
    "HetJobId": _of_set("het_job_id", "het_job_id"),
    "HetJobOffset": _of_set("het_job_offset", "het_job_id"),
    "JobName": _text("name"),
    "UserId": _named("user"),
    "GroupId": _named("group"),
    "Priority": _count("priority"),
    "Nice": _count("nice"),
    "Account": _text("account"),
    "QOS": _text("qos"),
    "WCKey": _text("wckey"),
    "JobState": _state,
    "Reason": _text("state_reason"),
    "Restarts": _count("restart_cnt"),
    "RunTime": _run_time,
    "TimeLimit": _limit,
    "SubmitTime": _moment("submit_time"),
    "EligibleTime": _moment("eligible_time"),
    "StartTime": _moment("start_time"),
    "EndTime": _moment("end_time"),
    "Partition": _text("partition"),
    "NodeList": _text("nodes"),
    "BatchHost": _text("batch_host"),
    "NumNodes": _count("node_count"),
    "NumCPUs": _count("cpus"),
    "NumTasks": _count("tasks"),
    "CPUs/Task": _count("cpus_per_task"),
    "MinCPUsNode": _count("minimum_cpus_per_node"),
    "TRES": _text("tres_alloc_str"),
    "AllocTRES": _text("tres_alloc_str"),
    "ReqTRES": _text("tres_req_str"),
    "Mem": _memory,
    "Features": _text("features"),
    "Licenses": _text("licenses"),
    "Network": _text("network"),
    "Reservation": _text("resv_name"),
    "Command": _text("command"),
    "WorkDir": _text("current_working_directory"),
    "Comment": _text("comment"),
    "AdminComment": _text("admin_comment"),
    "SystemComment": _text("system_comment"),
}
