"""A job as facility documents tell of it, whatever batch system it is of; and the documents made of jobs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

from jobmeter.model.document import Document, JsonValue

IDLE, RUNNING, HELD, FINISHED = "idle", "running", "held", "finished"


class QueueWanted(Struct, frozen=True, forbid_unknown_fields=True):
    """A queue whose jobs are counted."""

    name: Annotated[str, Meta(min_length=1, description="The queue's name in its document.")]
    constraint: Annotated[
        str,
        Meta(
            description="Which jobs are of it: a ClassAd expression, or for Slurm KEY=VALUE conditions with commas"
            " between (partition, qos, account, user). Empty: all."
        ),
    ] = ""


class QueuedJob(Struct, frozen=True):
    """A job. What is not known is None. `holds` tells whether it has cores now, `queues` the queues that it is of.

    `counted` is the state that it counts as in its queues, where that is not the state that receivers know it by.
    `counts` is false for what stands in the queue without being work itself, such as HTCondor's DAGMan.
    """

    user: str
    number: str
    identity: str
    state: str
    runtime_seconds: int | None
    queues: frozenset[str] = frozenset()
    counted: str | None = None
    counts: bool = True
    holds: bool = False
    cores: int | None = None
    memory_mib: int | None = None
    gpus: int | None = None
    submitted: datetime | None = None
    started: datetime | None = None


def queue_documents(queues: Sequence[QueueWanted], jobs: Sequence[QueuedJob], now: datetime) -> list[Document]:
    """One document per queue. A queue without jobs has zeros: the batch system has answered."""
    return [Document("condorqueue", "", now, _summary(queue.name, jobs)) for queue in queues]


def _summary(name: str, jobs: Sequence[QueuedJob]) -> dict[str, JsonValue]:
    inside = [job for job in jobs if name in job.queues and job.counts]
    holding = [job for job in inside if job.holds]
    return {
        "queue": name,
        "idle": _number(inside, IDLE),
        "running": _number(inside, RUNNING),
        "held": _number(inside, HELD),
        "allocated_cores": sum(job.cores or 0 for job in holding),
        "allocated_mem": sum(job.memory_mib or 0 for job in holding),
    }


def _number(jobs: Iterable[QueuedJob], state: str) -> int:
    return sum((job.counted or job.state) == state for job in jobs)


def job_documents(jobs: Iterable[QueuedJob], now: datetime, *, details: bool, once: bool) -> Iterator[Document]:
    """One document per job of the queue. With `once`, one that has finished and stays there is told of once."""
    for job in jobs:
        body: dict[str, JsonValue] = {"users": job.user, "Id": job.number}
        _add_runtime(body, job)
        body["state"] = job.state
        identity = job.identity if once and job.state == FINISHED else None
        yield Document("condorjob", "", now, body | (_details(job) if details else {}), identity)


def finished_documents(jobs: Iterable[QueuedJob], now: datetime, *, details: bool, once: bool) -> Iterator[Document]:
    """One document per job that has finished, each told of once."""
    for job in jobs:
        body: dict[str, JsonValue] = {"state": FINISHED, "users": job.user, "Id": job.number}
        _add_runtime(body, job)
        identity = job.identity if once else None
        yield Document("condorjob", "", now, body | (_details(job) if details else {}), identity)


def _add_runtime(body: dict[str, JsonValue], job: QueuedJob) -> None:
    if job.runtime_seconds is not None:
        body["Runtime"] = job.runtime_seconds


def _details(job: QueuedJob) -> dict[str, JsonValue]:
    found: dict[str, JsonValue] = {
        "cores": job.cores,
        "memory": job.memory_mib,
        "gpus": job.gpus,
        "submitted": None if job.submitted is None else job.submitted.isoformat().replace("+00:00", "Z"),
        "started": None if job.started is None else job.started.isoformat().replace("+00:00", "Z"),
    }
    return {key: value for key, value in found.items() if value is not None}
