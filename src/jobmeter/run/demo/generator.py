"""A facility that never was, for `jobmeter up --demo`: the same seed makes the same people, nodes and jobs.

Everything of it says so: sites and clusters are called demo-…, and every record has `demo` in its meta. Jobs
follow what is seen on real clusters: few users make most jobs, run times and sizes are spread over orders of magnitude,
work days are busier than nights, memory is asked for and not used, one job in ten fails.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random

from msgspec import Struct

from jobmeter.model.job import JobIdentity
from jobmeter.model.metric import Kind
from jobmeter.model.record import Component, Record, Score
from jobmeter.model.summary import EnergySource, JobSummary, MetricSummary

SEED = 20240229
DAYS = 183
SUMMARY_DAYS = 60
"""Jobs that ended within so many days were measured; those before are known by their accounting alone."""

_GIB = 2**30
_HOUR = 3600.0


class Cluster(Struct, frozen=True):
    """A cluster of a site: its batch system, nodes, cores and memory of each, benchmark and power of a core."""

    site: str
    name: str
    manager: str
    nodes: tuple[str, ...]
    cores: int
    memory_bytes: int
    hepscore: float
    watts_per_core: float
    queues: tuple[str, ...]
    jobs_a_day: float


class Group(Struct, frozen=True):
    """People who work on the same, and how their jobs are: cores, typical seconds, share of processor time used."""

    name: str
    users: tuple[str, ...]
    cores: tuple[int, ...]
    typical_seconds: float
    efficiency: float
    programs: tuple[str, ...]
    clusters: tuple[int, ...]


class Job(Struct, frozen=True):
    """A job as it was, with what it used in truth. `stop` is None while it runs."""

    record_id: str
    identity: JobIdentity
    cluster: Cluster
    user: str
    group: str
    queue: str
    program: str
    state: str
    nodes: tuple[str, ...]
    cores: int
    asked_bytes: int
    peak_bytes: int
    cpu_seconds: float
    read_bytes: int
    written_bytes: int
    submit: datetime
    start: datetime
    stop: datetime | None


def _nodes(stem: str, count: int) -> tuple[str, ...]:
    return tuple(f"{stem}{number:03d}" for number in range(1, count + 1))


CLUSTERS = (
    Cluster("demo-lakeside", "demo-lake", "slurm", _nodes("lake", 24), 64, 256 * _GIB, 17.3, 3.1,
            ("batch", "long", "gpu"), 45),
    Cluster("demo-northgate", "demo-north", "htcondor", _nodes("north", 16), 32, 128 * _GIB, 12.9, 4.4,
            ("grid", "local"), 32),
    Cluster("demo-harbour", "demo-harbour", "oar", _nodes("harbour", 8), 16, 64 * _GIB, 10.2, 5.8,
            ("default", "besteffort"), 16),
)  # fmt: skip

GROUPS = (
    Group("atlas", tuple(f"atlas{n:03d}" for n in range(1, 15)), (1, 8, 8), 5.0 * _HOUR, 0.91,
          ("reco", "simulation", "evgen", "derivation"), (0, 1)),
    Group("cms", tuple(f"cms{n:03d}" for n in range(1, 11)), (4, 8), 6.5 * _HOUR, 0.86,
          ("step2_digi", "step3_reco", "nano"), (0, 1)),
    Group("climate", tuple(f"clim{n:03d}" for n in range(1, 8)), (32, 64, 128), 7.0 * _HOUR, 0.78,
          ("icon_run", "regrid", "ensemble <7>"), (0, 2)),
    Group("biophysics", tuple(f"bio{n:03d}" for n in range(1, 10)), (8, 16, 32), 4.0 * _HOUR, 0.69,
          ("gromacs", "alphafold & co", "namd"), (0, 2)),
    Group("theory", tuple(f"th{n:03d}" for n in range(1, 6)), (1, 2, 4), 11.0 * _HOUR, 0.97,
          ("lattice", "montecarlo"), (1, 2)),
    Group("students", tuple(f"stud{n:03d}" for n in range(1, 22)), (1, 1, 2, 4), 0.4 * _HOUR, 0.34,
          ("a.out", "jupyter", "python train.py", "test \"quotes\" <b>"), (0, 1, 2)),
)  # fmt: skip

_GROUP_WEIGHTS = (30, 20, 9, 14, 10, 17)
_STATES = (("COMPLETED", 88), ("FAILED", 6), ("TIMEOUT", 3), ("CANCELLED", 2), ("OUT_OF_MEMORY", 1))


def jobs(now: datetime, seed: int = SEED, days: int = DAYS) -> Iterator[Job]:
    """The jobs of the last days up to now, day by day; some of the last still run."""
    chance = Random(seed)  # noqa: S311 - a demo, no secret
    first = now.replace(minute=0, second=0, microsecond=0) - timedelta(days=days)
    number = 1000
    for day in range(days + 1):
        for cluster in CLUSTERS:
            morning = first + timedelta(days=day)
            busy = (0.45 if morning.weekday() >= 5 else 1.1) * (1 + 0.35 * math.sin(day / 29))
            for _ in range(round(cluster.jobs_a_day * busy * chance.uniform(0.8, 1.2))):
                number += 1
                submit = morning + timedelta(seconds=chance.triangular(0, 86_400, 50_000))
                if submit < now:
                    yield _job(chance, cluster, number, submit, now)


def _job(chance: Random, cluster: Cluster, number: int, submit: datetime, now: datetime) -> Job:
    place = CLUSTERS.index(cluster)
    weights = [weight if place in one.clusters else 0 for one, weight in zip(GROUPS, _GROUP_WEIGHTS, strict=True)]
    group = chance.choices(GROUPS, weights)[0]
    # Few people make most jobs: the chance falls with the place in the list.
    user = group.users[min(int(chance.paretovariate(1.1)) - 1, len(group.users) - 1)]
    cores = chance.choice(group.cores)
    state = chance.choices([name for name, _ in _STATES], [weight for _, weight in _STATES])[0]
    seconds = min(chance.lognormvariate(math.log(group.typical_seconds), 0.9), 3 * 86_400.0)
    if state == "FAILED":
        seconds *= chance.uniform(0.01, 0.6)
    start = submit + timedelta(seconds=chance.expovariate(1 / 1500) + 5)
    stop: datetime | None = start + timedelta(seconds=round(max(seconds, 20.0)))
    if start > now:
        start = now - timedelta(seconds=60)
    if stop is not None and stop > now:
        stop = None
    wide = -(-cores // cluster.cores)
    begin = chance.randrange(len(cluster.nodes) - min(wide, len(cluster.nodes)) + 1)
    ran = ((now if stop is None else stop) - start).total_seconds()
    efficiency = min(max(chance.gauss(group.efficiency, 0.09), 0.02), 1.0)
    asked = cores * chance.choice((2, 2, 4)) * _GIB
    used = int(asked * min(chance.betavariate(2.2, 3.0) + 0.03, 1.0))
    return Job(
        record_id=f"demo-{cluster.manager}-{number}",
        identity=JobIdentity(cluster.manager, cluster.name, str(number)),
        cluster=cluster,
        user=user,
        group=group.name,
        queue=chance.choice(cluster.queues),
        program=chance.choice(group.programs),
        state=state if stop is not None else "RUNNING",
        nodes=cluster.nodes[begin : begin + wide],
        cores=cores,
        asked_bytes=asked,
        peak_bytes=asked if state == "OUT_OF_MEMORY" else used,
        cpu_seconds=ran * cores * efficiency,
        read_bytes=int(chance.lognormvariate(21, 2)),
        written_bytes=int(chance.lognormvariate(19.5, 2)),
        submit=submit,
        start=start.replace(microsecond=0),
        stop=None if stop is None else stop.replace(microsecond=0),
    )


def _limit_seconds(job: Job) -> int:
    """The limit that the job was given: what it ran where it ran into it, else one of the three that people ask for."""
    ran = 0 if job.stop is None else round((job.stop - job.start).total_seconds())
    return ran if job.state == "TIMEOUT" else next(hours for hours in (4, 24, 72) if ran <= hours * _HOUR) * 3600


def record(job: Job) -> Record:
    """The accounting of a job, as our collectors would have made it."""
    meta: dict[str, tuple[str, ...]] = {
        "site_id": (job.cluster.site,),
        "user_id": (job.user,),
        "group_id": (job.group,),
        "cluster": (job.cluster.name,),
        "queue": (job.queue,),
        "job_name": (job.program,),
        "state": (job.state,),
        "collector_type": (job.cluster.manager,),
        "submit_time": (job.submit.isoformat(timespec="seconds"),),
        "time_limit": (str(_limit_seconds(job)),),
        "demo": ("made up",),
    }
    components = [
        Component("Cores", job.cores, (Score("HEPscore", job.cluster.hepscore),)),
        Component("NNodes", len(job.nodes), ()),
        Component("Memory", job.asked_bytes // 2**20, ()),
    ]
    if job.stop is not None:
        components += [Component("TotalCPU", round(job.cpu_seconds), ()), Component("MaxRSS", job.peak_bytes, ())]
    return Record(job.record_id, tuple(components), job.start, meta, job.stop)


def summary(job: Job, now: datetime) -> JobSummary | None:
    """What the node agents would have said of an ended job; None where it was not measured."""
    if job.stop is None or job.stop < now - timedelta(days=SUMMARY_DAYS):
        return None
    seconds = (job.stop - job.start).total_seconds()
    samples = max(2, int(seconds / 5)) * len(job.nodes)
    rate = job.cpu_seconds / seconds * 1e9
    joules = job.cpu_seconds * job.cluster.watts_per_core + seconds * job.cores * job.cluster.watts_per_core * 0.35
    alone = job.cores % job.cluster.cores == 0
    metered = EnergySource.RAPL if alone else EnergySource.ESTIMATED
    source = EnergySource.NONE if job.cluster.manager == "oar" else metered  # one cluster has no meters
    return JobSummary(
        job=job.identity,
        nodes=job.nodes,
        first_ns=int(job.start.timestamp() * 1e9),
        last_ns=int(job.stop.timestamp() * 1e9),
        samples=samples,
        node_seconds=seconds * len(job.nodes),
        covered_seconds=seconds * len(job.nodes) * (0.97 if job.state == "TIMEOUT" else 1.0),
        ended=True,
        metrics=(
            _rate("cgroup_cpu_usage", "nanoseconds", samples, rate, job.cpu_seconds * 1e9),
            _rate("cgroup_io_read_bytes", "bytes", samples, job.read_bytes / seconds, job.read_bytes),
            _rate("cgroup_io_write_bytes", "bytes", samples, job.written_bytes / seconds, job.written_bytes),
            _level("cgroup_memory_current", samples, job.peak_bytes),
            _level("cgroup_memory_anon", samples, int(job.peak_bytes * 0.86)),
        ),
        joules=None if source is EnergySource.NONE else joules,
        energy=source,
    )


def _rate(name: str, unit: str, samples: int, mean: float, total: float) -> MetricSummary:
    return MetricSummary(
        name, unit, Kind.COUNTER, samples, 0, mean * 0.1, mean, mean * 1.25, mean, mean * 1.08, mean * 1.12, mean * 1.2,
        total=total,
    )  # fmt: skip


def _level(name: str, samples: int, peak: int) -> MetricSummary:
    return MetricSummary(
        name, "bytes", Kind.GAUGE, samples, 0, peak * 0.05, peak * 0.7, peak, peak * 0.74, peak * 0.93, peak * 0.96,
        peak * 0.99, peak=peak,
    )  # fmt: skip
