"""The last hours of the demo's nodes and running jobs, as node agents would have sampled them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from random import Random

from jobmeter.model.metric import Kind, Metric
from jobmeter.model.sample import JobEnd, Sample, SampleBatch
from jobmeter.run.demo.generator import SEED, Cluster, Job

HOURS = 6
STEP_SECONDS = 30
NODES_MEASURED = 4
"""Of each cluster so many nodes were sampled; more would only take longer to make."""

_NODE = ("procstats_stat_cpu_user", "procstats_stat_cpu_idle", "procstats_meminfo_memtotal",
         "procstats_meminfo_memavailable", "procstats_loadavg_1min")  # fmt: skip
_JOB = ("cgroup_cpu_usage", "cgroup_memory_current", "cgroup_io_read_bytes", "cgroup_io_write_bytes",
        "cgroup_pids_current")  # fmt: skip
_NET = ("network_rx_bytes", "network_tx_bytes")
_RAPL = ("rapl_energy",)

METRICS = (
    Metric("procstats_stat_cpu_user", "centiseconds", Kind.COUNTER, "Demo: processor time in user mode."),
    Metric("procstats_stat_cpu_idle", "centiseconds", Kind.COUNTER, "Demo: processor time without work."),
    Metric("procstats_meminfo_memtotal", "kibibytes", Kind.GAUGE, "Demo: memory."),
    Metric("procstats_meminfo_memavailable", "kibibytes", Kind.GAUGE, "Demo: memory that can be had."),
    Metric("procstats_loadavg_1min", "count", Kind.GAUGE, "Demo: load."),
    Metric("cgroup_cpu_usage", "nanoseconds", Kind.COUNTER, "Demo: processor time."),
    Metric("cgroup_memory_current", "bytes", Kind.GAUGE, "Demo: memory in use."),
    Metric("cgroup_io_read_bytes", "bytes", Kind.COUNTER, "Demo: bytes read."),
    Metric("cgroup_io_write_bytes", "bytes", Kind.COUNTER, "Demo: bytes written."),
    Metric("cgroup_pids_current", "count", Kind.GAUGE, "Demo: processes."),
    Metric("network_rx_bytes", "bytes", Kind.COUNTER, "Demo: bytes received."),
    Metric("network_tx_bytes", "bytes", Kind.COUNTER, "Demo: bytes sent."),
    Metric("rapl_energy", "microjoules", Kind.COUNTER, "Demo: energy used."),
)


def batches(
    jobs: Sequence[Job], clusters: Sequence[Cluster], now: datetime, hours: float = HOURS
) -> Iterator[SampleBatch]:
    """The batches of the measured nodes, in order of time."""
    begin = now - timedelta(hours=hours)
    present = [job for job in jobs if job.stop is None or job.stop > begin]
    nodes = [_Node(cluster, name, present) for cluster in clusters for name in cluster.nodes[:NODES_MEASURED]]
    for step in range(int(hours * 3600 / STEP_SECONDS)):
        moment = begin + timedelta(seconds=step * STEP_SECONDS)
        for node in nodes:
            yield node.batch(moment, begin)


class _Node:
    """A node, and what its counters stand at."""

    def __init__(self, cluster: Cluster, name: str, jobs: Sequence[Job]) -> None:
        self._cluster = cluster
        self._name = name
        self._jobs = [job for job in jobs if name in job.nodes]
        self._chance = Random(f"{SEED} {name}")  # noqa: S311 - a demo, no secret
        self._user = self._idle = self._joules = self._received = self._sent = 0.0
        self._over: set[str] = set()

    def batch(self, moment: datetime, begin: datetime) -> SampleBatch:
        """The samples of one instant."""
        time_ns = int(moment.timestamp()) * 10**9
        here = [job for job in self._jobs if job.start <= moment and (job.stop is None or job.stop > moment)]
        ended = [job for job in self._jobs if job.stop is not None and begin < job.stop <= moment]
        fresh = [job for job in ended if job.record_id not in self._over]
        self._over.update(job.record_id for job in fresh)
        samples = [self._of_job(job, moment, time_ns) for job in here]
        samples += self._of_node(here, time_ns)
        ends = tuple(JobEnd(job.identity, self._name, time_ns) for job in fresh)
        return SampleBatch(self._name, tuple(samples), METRICS, ends)

    def _of_job(self, job: Job, moment: datetime, time_ns: int) -> Sample:
        seconds = (moment - job.start).total_seconds()
        whole = max(((job.stop or moment) - job.start).total_seconds(), 1.0)
        share = seconds / whole / len(job.nodes)
        wave = 0.8 + 0.2 * math.sin(seconds / 700 + job.cores)
        values = (
            int(job.cpu_seconds * share * 1e9),
            int(job.peak_bytes / len(job.nodes) * min(1.0, 0.2 + seconds / 1800) * wave),
            int(job.read_bytes * share),
            int(job.written_bytes * share),
            job.cores + 3,
        )
        since_ns = int(job.start.timestamp()) * 10**9
        return Sample("cgroup", self._name, job.identity, time_ns, _JOB, values, since_ns=since_ns)

    def _of_node(self, here: Sequence[Job], time_ns: int) -> list[Sample]:
        cluster = self._cluster
        wanted = sum(job.cores / len(job.nodes) for job in here) * self._chance.uniform(0.8, 0.95) + 0.2
        busy = min(float(cluster.cores), wanted)
        self._user += busy * STEP_SECONDS * 100
        self._idle += (cluster.cores - busy) * STEP_SECONDS * 100
        self._joules += (cluster.cores * cluster.watts_per_core * 0.35 + busy * cluster.watts_per_core) * STEP_SECONDS
        self._received += self._chance.lognormvariate(17, 1) * (1 + busy)
        self._sent += self._chance.lognormvariate(16, 1) * (1 + busy)
        kib = cluster.memory_bytes // 1024
        free = max(kib * 0.93 - sum(job.peak_bytes / len(job.nodes) / 1024 * 0.7 for job in here), kib * 0.04)
        involved = tuple(job.identity for job in here)
        node = (int(self._user), int(self._idle), kib, int(free), round(busy * 1.02, 2))
        return [
            Sample("procstats", self._name, None, time_ns, _NODE, node, involved=involved),
            Sample("network", self._name, None, time_ns, _NET, (int(self._received), int(self._sent)), "eth0"),
            Sample(
                "rapl", self._name, None, time_ns, _RAPL, (int(self._joules * 1e6),), "package-0", involved=involved
            ),
        ]
