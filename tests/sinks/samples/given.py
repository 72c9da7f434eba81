"""Batches for sample sinks: some as from Colmet's node, some as from ours."""

from __future__ import annotations

from jobmeter.model.job import JobIdentity
from jobmeter.model.metric import Kind, Metric
from jobmeter.model.outcome import Accepted, Outcome
from jobmeter.model.sample import JobEnd, Sample, SampleBatch
from jobmeter.wire.colmet import FORMATS, ColmetRecord, columns, types
from jobmeter.wire.colmet_samples import samples_of

START = 1_700_000_000
SECOND = 1_000_000_000
JOB = JobIdentity("slurm", "alpha", "4711")
CPU = Metric("cgroup_cpu_usage", "nanoseconds", Kind.COUNTER, "CPU time.")
POWER = Metric("ipmi_power", "watts", Kind.GAUGE, "Power.")


def colmet_batch(stamp: int = START, job: int = 4711, host: str = "n1", kinds: tuple[str, ...] = ()) -> SampleBatch:
    """What a message of Colmet's node becomes that holds a record of each class, or of these."""
    records = []
    for number, kind in enumerate(kinds or sorted(FORMATS)):
        values = tuple(
            "[1000, 7]" if form == "s" else (place + 0.5 if form == "f" else 1000 * number + place)
            for place, form in enumerate(types(kind))
        )
        node_wide = "involved_jobs" in columns(kind) or kind.startswith("temperature")
        records.append(ColmetRecord(kind, host, 0 if node_wide else job, stamp, values))
    return samples_of(records, "oar", "")


def own_batch(
    at: int = START, value: int | None = 5, job: JobIdentity | None = JOB, *, ends: bool = False
) -> SampleBatch:
    """What a node of ours sends: CPU of a job, power of the node."""
    samples = (
        Sample("cgroup", "n1", job, at * SECOND + 250_000_000, (CPU.name,), (value,)),
        Sample("ipmi", "n1", None, at * SECOND + 250_000_000, (POWER.name,), (312,), "psu-0", None, (JOB,)),
    )
    ended = (JobEnd(job, "n1", at * SECOND),) if ends and job is not None else ()
    return SampleBatch("n1", samples, (CPU, POWER), ended)


def all_accepted(outcomes: object) -> bool:
    """Whether every outcome is Accepted, and there is one."""
    assert isinstance(outcomes, list | tuple)
    found: list[Outcome] = list(outcomes)
    return bool(found) and all(isinstance(outcome, Accepted) for outcome in found)
