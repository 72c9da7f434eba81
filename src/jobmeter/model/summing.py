"""Samples become summaries while they pass: one of a job when its last node has said that it ended.

Memory is bounded: per running job a few numbers per metric and device; when there are more than `jobs_max` jobs, the
one that was silent longest is given out as it is. What comes of a job after its summary is counted and left out, unless
it says that it began later: batch systems run a job again under its number, which its next summary tells (`earlier`);
or unless it is of another node, which was cut off while the others ended: that part has a summary of its own.

All that is kept is a `Kept`, which can be written down and gone on with. Batches that come again after that change
nothing: of each series only what is later than what was taken counts.

A counter of a job that says when it began (`since_ns`) counts from its first value on, as it was zero then; one that
does not say counts from its first sample. The energy of a node is that of the jobs which its sample names: all of it
for one, else by the processor time that each used since the sample before, in equal parts where that is not known.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from jobmeter.model.job import JobIdentity
from jobmeter.model.joining import SLACK_NS
from jobmeter.model.metric import Kind, Metric
from jobmeter.model.sample import Sample, SampleBatch
from jobmeter.model.sketch import Sketch
from jobmeter.model.summary import EnergySource, JobSummary, MetricSummary

JOBS_MAX = 50_000
DONE_MAX = 50_000
"""Of so many jobs it is remembered that they have ended."""
GAP_SPACINGS = 5
CPU = "cgroup_cpu_usage"
POWER, ENERGY = "ipmi_power", "rapl_energy"
_MICRO = 1e-6


class _Last(Struct):
    """The last value of a metric of one device."""

    value: float
    time_ns: int
    since_ns: int | None


class _Metric(Struct):
    """What is kept of one metric of a job."""

    sketch: Sketch
    last: dict[tuple[str, str], _Last] = {}
    peaks: dict[tuple[str, str], float] = {}
    samples: int = 0
    missing: int = 0
    total: float = 0.0
    sum: float = 0.0
    seconds: float = 0.0
    low: float | None = None
    high: float | None = None
    resets: int = 0
    since_ns: int | None = None
    is_begun: bool = True
    """Of a counter: whether all devices said since when they count; `since_ns` is the earliest."""


class _Node(Struct):
    """When a job was heard of on one node."""

    first_ns: int
    last_ns: int
    spacing_ns: int = 0
    gap_ns: int = 0
    ended: bool = False


class _Job(Struct):
    seen: dict[tuple[str, str, str], int] = {}
    metrics: dict[str, _Metric] = {}
    nodes: dict[str, _Node] = {}
    samples: int = 0
    joules: dict[EnergySource, float] = {}
    shared: bool = False
    earlier: int = 0


class _Meter(Struct):
    """The last reading of a power meter of a node."""

    value: float
    time_ns: int


class _Done(Struct):
    """A job that has summaries: when the last of its runs was seen, how many there were, and where that one was."""

    last_ns: int
    summaries: int
    nodes: set[str] = set()
    first_ns: int = 0


class Kept(Struct):
    """What a `Summing` keeps, in lists: identities are no keys that every encoding can have."""

    done: list[tuple[JobIdentity, _Done]] = []
    jobs: list[tuple[JobIdentity, _Job]] = []
    known: list[Metric] = []
    meters: list[tuple[tuple[str, str, str], _Meter]] = []
    used: list[tuple[str, JobIdentity, float]] = []
    late: int = 0


class Summing:
    """Takes batches in the order in which they came; gives the summaries of the jobs that ended with each."""

    def __init__(self, jobs_max: int = JOBS_MAX, kept: Kept | None = None) -> None:
        kept = kept or Kept()
        self.late = kept.late
        self._jobs_max = jobs_max
        self._done: dict[JobIdentity, _Done] = dict(kept.done)
        self._jobs: dict[JobIdentity, _Job] = dict(kept.jobs)
        self._known: dict[str, Metric] = {metric.name: metric for metric in kept.known}
        self._meters: dict[tuple[str, str, str], _Meter] = dict(kept.meters)
        self._used: dict[str, dict[JobIdentity, float]] = {}
        for node, job, used in kept.used:
            self._used.setdefault(node, {})[job] = used

    @property
    def jobs(self) -> int:
        """How many jobs are being summed."""
        return len(self._jobs)

    def kept(self) -> Kept:
        """All that is kept now; to be written down before anything more is added."""
        used = [(node, job, used) for node, by_job in self._used.items() for job, used in by_job.items()]
        known, meters = list(self._known.values()), list(self._meters.items())
        return Kept(list(self._done.items()), list(self._jobs.items()), known, meters, used, self.late)

    def add(self, batch: SampleBatch) -> list[JobSummary]:
        """Take a batch. The summaries of jobs that have now ended on all nodes where they were seen."""
        for metric in batch.metrics:
            self._known[metric.name] = metric
        nodes = [sample for sample in batch.samples if sample.job is None]
        for sample in batch.samples:
            if sample.job is not None:
                self._take(sample, sample.job)
        metered = [self._meter(sample) for sample in nodes]
        for sample, did in zip(nodes, metered, strict=True):
            if did:
                self._used.pop(sample.node, None)
        done = []
        for end in batch.ends:
            job = self._jobs.get(end.job)
            if job is None:
                continue
            if end.node in job.nodes:
                job.nodes[end.node].ended = True
            if all(node.ended for node in job.nodes.values()):
                done.append(self._finish(end.job))
        while len(self._jobs) > self._jobs_max:
            done.append(self._finish(next(iter(self._jobs))))
        return done

    def silent_since(self, time_ns: int) -> list[JobSummary]:
        """The summaries of jobs that nobody has spoken of since then; they are forgotten here."""
        silent = [
            job for job, kept in self._jobs.items() if all(node.last_ns < time_ns for node in kept.nodes.values())
        ]
        done = [self._finish(job) for job in silent]
        for job in silent:
            del self._done[job]  # its node may be heard of again, and then tell more
        return done

    def running(self, job: JobIdentity) -> JobSummary | None:
        """The summary of a job so far."""
        kept = self._jobs.get(job)
        return None if kept is None else self._summary(job, kept)

    def close(self) -> list[JobSummary]:
        """The summaries of all jobs that are left, as they are."""
        return [self._finish(job) for job in list(self._jobs)]

    def _take(self, sample: Sample, identity: JobIdentity) -> None:
        # Taken out and put in again: the first in the dictionary is the one that was silent longest.
        job = self._jobs.pop(identity, None)
        earlier = self._earlier(sample, identity)
        if earlier is None or (job is not None and earlier < job.earlier):
            self.late += 1
            if job is not None:
                self._jobs[identity] = job
            return
        job = job or _Job(earlier=earlier)
        self._jobs[identity] = job
        series = (sample.node, sample.source, sample.instance)
        if sample.time_ns <= job.seen.get(series, -1):
            return
        job.seen[series] = sample.time_ns
        job.samples += 1
        node = job.nodes.get(sample.node)
        if node is None:
            job.nodes[sample.node] = _Node(sample.time_ns, sample.time_ns)
        elif sample.time_ns > node.last_ns:
            _pass(node, sample.time_ns)
        for name, value in zip(sample.metrics, sample.values, strict=False):
            kept = job.metrics.get(name)
            if kept is None:
                kept = job.metrics[name] = _Metric(Sketch())
            if value is None:
                kept.missing += 1
                continue
            known = self._known.get(name)
            device = (sample.node, sample.instance)
            if known is not None and known.kind is Kind.COUNTER:
                grown = _counted(kept, device, float(value), sample)
                if name == CPU and grown > 0:
                    used = self._used.setdefault(sample.node, {})
                    used[identity] = used.get(identity, 0.0) + grown
            else:
                _levelled(kept, device, float(value))

    def _earlier(self, sample: Sample, identity: JobIdentity) -> int | None:
        """How many runs were before the one that a sample is of; None where it comes too late for a summary."""
        done = self._done.get(identity)
        if done is None:
            return 0
        if sample.since_ns is not None and sample.since_ns >= done.last_ns:
            return done.summaries
        # A node that was cut off while the others ended: its part gets a summary of its own, to be added.
        is_part = sample.node not in done.nodes and sample.time_ns >= done.first_ns - SLACK_NS
        return done.summaries - 1 if is_part else None

    def _meter(self, sample: Sample) -> bool:
        """Share out what a node used since the sample before. Whether the sample is of a meter."""
        did = False
        for name, value in zip(sample.metrics, sample.values, strict=False):
            is_part = name == ENERGY and is_counted(sample.instance)
            if value is None or not (is_part or name == POWER):
                continue
            key = (sample.node, name, sample.instance)
            before = self._meters.get(key)
            if before is not None and sample.time_ns <= before.time_ns:
                continue
            did = True
            self._meters[key] = _Meter(float(value), sample.time_ns)
            if before is None:
                continue
            if name == POWER:
                joules = (before.value + float(value)) / 2 * (sample.time_ns - before.time_ns) / 1e9
                self._share(joules, EnergySource.IPMI, sample)
            elif float(value) >= before.value:
                self._share((float(value) - before.value) * _MICRO, EnergySource.RAPL, sample)
        return did

    def _share(self, joules: float, source: EnergySource, sample: Sample) -> None:
        used = self._used.get(sample.node, {})
        weights = {job: used.get(job, 0.0) for job in sample.involved}
        total = sum(weights.values())
        for job, weight in weights.items():
            kept = self._jobs.get(job)
            if kept is None:
                continue
            part = weight / total if total > 0 else 1 / len(weights)
            kept.joules[source] = kept.joules.get(source, 0.0) + joules * part
            kept.shared = kept.shared or len(weights) > 1

    def _finish(self, job: JobIdentity) -> JobSummary:
        summary = self._summary(job, self._jobs.pop(job))
        before = self._done.pop(job, None)
        done = self._done[job] = _Done(summary.last_ns, summary.earlier + 1, set(summary.nodes), summary.first_ns)
        if before is not None and before.summaries == done.summaries:
            done.last_ns = max(done.last_ns, before.last_ns)
            done.first_ns = min(done.first_ns, before.first_ns)
            done.nodes |= before.nodes
        if len(self._done) > DONE_MAX:
            del self._done[next(iter(self._done))]
        return summary

    def _summary(self, identity: JobIdentity, job: _Job) -> JobSummary:
        source = next((one for one in (EnergySource.IPMI, EnergySource.RAPL) if one in job.joules), None)
        energy = EnergySource.NONE if source is None else EnergySource.ESTIMATED if job.shared else source
        nodes = job.nodes.values()
        spans = sum(node.last_ns - node.first_ns for node in nodes)
        return JobSummary(
            identity,
            tuple(sorted(job.nodes)),
            min(node.first_ns for node in nodes),
            max(node.last_ns for node in nodes),
            job.samples,
            spans / 1e9,
            (spans - sum(node.gap_ns for node in nodes)) / 1e9,
            all(node.ended for node in nodes),
            tuple(self._metrics(job)),
            None if source is None else job.joules[source],
            energy,
            tuple(sorted(name for name, node in job.nodes.items() if not node.ended)),
            job.earlier,
        )

    def _metrics(self, job: _Job) -> Iterator[MetricSummary]:
        for name, kept in sorted(job.metrics.items()):
            known = self._known.get(name)
            if known is None:
                continue
            counter = known.kind is Kind.COUNTER
            per = kept.seconds if counter else kept.sketch.count
            yield MetricSummary(
                name,
                known.unit,
                known.kind,
                kept.samples,
                kept.missing,
                kept.low,
                kept.sum / per if per else None,
                kept.high,
                p50=kept.sketch.quantile(0.5),
                p90=kept.sketch.quantile(0.9),
                p95=kept.sketch.quantile(0.95),
                p99=kept.sketch.quantile(0.99),
                total=kept.total if counter and kept.samples else None,
                resets=kept.resets,
                peak=None if counter or not kept.peaks else sum(kept.peaks.values()),
                since_ns=kept.since_ns if kept.is_begun else None,
            )


def _pass(node: _Node, time_ns: int) -> None:
    """Time passed on a node; what is far longer than usual is a gap."""
    step = time_ns - node.last_ns
    if node.spacing_ns and step > GAP_SPACINGS * node.spacing_ns:
        node.gap_ns += step
    else:
        node.spacing_ns = step if not node.spacing_ns else (node.spacing_ns * 7 + step) // 8
    node.last_ns = time_ns


def _counted(kept: _Metric, device: tuple[str, str], value: float, sample: Sample) -> float:
    """Take a counter's value. How much it has grown."""
    kept.samples += 1
    last = kept.last.get(device)
    kept.last[device] = _Last(value, sample.time_ns, sample.since_ns)
    if last is None:
        began = value if sample.since_ns is not None else 0.0
        seconds = (sample.time_ns - sample.since_ns) / 1e9 if sample.since_ns is not None else 0.0
        if sample.since_ns is None:
            kept.is_begun = False
        else:
            kept.since_ns = sample.since_ns if kept.since_ns is None else min(kept.since_ns, sample.since_ns)
    else:
        if sample.time_ns <= last.time_ns:
            kept.last[device] = last  # late or repeated: it is part of the growth that was counted
            return 0.0
        began = value - last.value
        seconds = (sample.time_ns - last.time_ns) / 1e9
        both = sample.since_ns is not None and last.since_ns is not None
        if (sample.since_ns != last.since_ns) if both else began < 0:
            kept.resets += 1
            began = value
        began = max(began, 0.0)
    kept.total += began
    if seconds > 0:
        kept.sum += began
        kept.seconds += seconds
        _spread(kept, began / seconds)
    return began


def _levelled(kept: _Metric, device: tuple[str, str], value: float) -> None:
    kept.samples += 1
    kept.sum += value
    kept.peaks[device] = max(kept.peaks.get(device, value), value)
    _spread(kept, value)


def _spread(kept: _Metric, value: float) -> None:
    kept.sketch.add(value)
    kept.low = value if kept.low is None else min(kept.low, value)
    kept.high = value if kept.high is None else max(kept.high, value)


def is_counted(instance: str) -> bool:
    """Whether a RAPL meter counts: packages and their memory; other meters are parts or wholes of these."""
    return ("/" not in instance and instance.startswith("package")) or instance.endswith("/dram")
