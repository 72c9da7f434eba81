"""The facility documents of the demo: who was logged in, what was queued, how login nodes were, as they are sent."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any

from jobmeter.run.demo.generator import GROUPS, SEED, Cluster, Job

HOURS = 24
STEP_MINUTES = 10
DAYS_OF_USERS = 183
"""For so many days it is told once a day who was there, so that months can be compared."""

_GIB = 2**30

Fields = dict[str, Any]


def documents(jobs: Sequence[Job], clusters: Sequence[Cluster], now: datetime) -> Iterator[Fields]:
    """The documents in order of time, each with its `timestamp` in milliseconds since 1970."""
    chance = Random(SEED + 1)  # noqa: S311 - a demo, no secret
    people = [user for group in GROUPS for user in group.users]
    for day in range(DAYS_OF_USERS, 1, -1):
        moment = (now - timedelta(days=day)).replace(hour=14, minute=0)
        for cluster in clusters:
            yield _stamped(
                _logged_in(chance, people, cluster, 0.3 + 0.3 * (DAYS_OF_USERS - day) / DAYS_OF_USERS), moment
            )
    recent = [job for job in jobs if job.stop is None or job.stop > now - timedelta(hours=HOURS + 1)]
    for step in range(HOURS * 60 // STEP_MINUTES, -1, -1):
        moment = now - timedelta(minutes=step * STEP_MINUTES)
        for cluster in clusters:
            for fields in _at(chance, people, cluster, recent, moment):
                yield _stamped(fields, moment)
    for cluster in clusters:
        for fields in _jobs_now(cluster, recent, now):
            yield _stamped(fields, now)


def _stamped(fields: Fields, moment: datetime) -> Fields:
    return {**fields, "timestamp": int(moment.timestamp() * 1000)}


def _logged_in(chance: Random, people: Sequence[str], cluster: Cluster, share: float) -> Fields:
    users = sorted(chance.sample(people, int(len(people) * share * chance.uniform(0.6, 1.0))))
    node = f"{cluster.name}-login1"
    return {"kind": "ssh", "cluster": cluster.name, "login_node": node, "ssh_user_count": len(users), "users": users}


def _at(
    chance: Random, people: Sequence[str], cluster: Cluster, jobs: Sequence[Job], moment: datetime
) -> Iterator[Fields]:
    day = 0.5 + 0.5 * math.sin((moment.hour - 8) / 24 * 2 * math.pi)
    yield _logged_in(chance, people, cluster, 0.05 + 0.25 * day)
    notebooks = sorted(chance.sample(people, 1 + int(6 * day)))
    head = {"cluster": cluster.name}
    yield {**head, "kind": "jupyter-ml", "jupyter_user_count": len(notebooks), "users": notebooks}
    for number in (1, 2):
        node = {**head, "login_node": f"{cluster.name}-login{number}"}
        yield {**node, "kind": "CPU", "load": round(2 + 12 * day * chance.random(), 2)}
        yield {
            **node,
            "kind": "MEM",
            "total": 64 * _GIB,
            "available": int(64 * _GIB * (0.9 - 0.5 * day * chance.random())),
        }
        sent, received = int(chance.lognormvariate(15, 1)), int(chance.lognormvariate(16, 1))
        yield {**node, "kind": "NETWORK", "network": {"sent": sent, "received": received, "interval": 0.25}}
        used = int((700 + 80 * day + moment.day) * _GIB)
        total = 1000 * _GIB
        yield {
            **node, "kind": "DISK", "mount": "/home", "total": total, "used": used, "free": total - used,
            "utilization": used / total,
        }  # fmt: skip
    for queue in cluster.queues:
        here = [job for job in jobs if job.cluster.name == cluster.name and job.queue == queue]
        running = [job for job in here if job.start <= moment and (job.stop is None or job.stop > moment)]
        idle = sum(job.submit <= moment < job.start for job in here)
        yield {
            **head, "kind": "condorqueue", "queue": queue, "idle": idle, "running": len(running),
            "held": chance.choice((0, 0, 0, 1)), "allocated_cores": sum(job.cores for job in running),
            "allocated_mem": sum(job.asked_bytes for job in running) // 2**20,
        }  # fmt: skip


def _jobs_now(cluster: Cluster, jobs: Sequence[Job], now: datetime) -> Iterator[Fields]:
    for job in jobs:
        if job.cluster.name == cluster.name and job.stop is None:
            yield {
                "kind": "condorjob", "cluster": cluster.name, "users": job.user, "Id": job.identity.job,
                "state": "running", "Runtime": int((now - job.start).total_seconds()), "cores": job.cores,
            }  # fmt: skip
