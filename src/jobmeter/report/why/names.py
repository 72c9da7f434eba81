"""Under which names records have what the report tells of, and in which unit.

Facilities name their components as they like, so several names are looked for, the first that is there counts, and
`Names` can put others before them. Units: docs/glossary.md and the collectors' own documents; of sacct, `man sacct`.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from jobmeter.model.metric import Kind, Metric

KIB, MIB, GIB = 2**10, 2**20, 2**30


class Source(Struct, frozen=True):
    """A component that has a quantity: `factor` turns its amount into the quantity's own unit."""

    name: str
    factor: float = 1.0
    meaning: str = ""
    timed: bool = False
    """Whether the meta key `time_unit` says if it is milliseconds."""
    manager: str | None = None
    """It means that with this batch system only."""


RESIDENT = "resident memory of its largest process or step"
CHARGED = "memory charged to its control group, page cache included"
WORKING_SET = "working set of its containers"

QUANTITIES = {
    "cores": Metric("cores", "count", Kind.TOTAL, "Cores that were allocated."),
    "nodes": Metric("nodes", "count", Kind.TOTAL, "Nodes that were allocated."),
    "gpus": Metric("gpus", "count", Kind.TOTAL, "Graphics processors that were allocated."),
    "gpu-busy": Metric("gpu-busy", "part", Kind.TOTAL, "Share of time in which graphics processors were busy."),
    "cpu": Metric("cpu", "seconds", Kind.TOTAL, "Processor time that was used."),
    "cpu-user": Metric("cpu-user", "seconds", Kind.TOTAL, "Of it in user mode."),
    "cpu-system": Metric("cpu-system", "seconds", Kind.TOTAL, "Of it in the kernel."),
    "memory": Metric("memory", "bytes", Kind.TOTAL, "Memory that was asked for."),
    "peak": Metric("peak", "bytes", Kind.TOTAL, "The most memory that was used at once."),
    "limit": Metric("limit", "seconds", Kind.TOTAL, "The time limit."),
    "read": Metric("read", "bytes", Kind.TOTAL, "Bytes read."),
    "written": Metric("written", "bytes", Kind.TOTAL, "Bytes written."),
    "energy": Metric("energy", "joules", Kind.TOTAL, "Energy."),
}
"""What can be named, with the unit in which it is told."""

_TABLE: Mapping[str, tuple[Source, ...]] = {
    "cores": (
        Source("Cores"), Source("cores"), Source("NCPUS"), Source("CpusProvisioned"), Source("RequestCpus"),
        Source("cpu_request", 0.001, manager="kubernetes"),
    ),
    "nodes": (Source("NNodes"), Source("Nodes")),
    "gpus": (Source("GPUs"), Source("gpus"), Source("NGPUs"), Source("RequestGpus"), Source("nvidia.com/gpu_request")),
    "gpu-busy": (Source("GPUUtilization", 0.01),),
    "cpu": (
        Source("UsedCPU"), Source("TotalCPU", timed=True), Source("cpu", manager="kubernetes"),
    ),
    "cpu-user": (Source("UserCPU", timed=True), Source("RemoteUserCpu")),
    "cpu-system": (Source("SystemCPU", timed=True), Source("RemoteSysCpu")),
    "memory": (
        Source("RequestedMemory"), Source("Memory", MIB), Source("ReqMem", MIB), Source("RequestMemory", MIB),
        Source("memory_request", manager="kubernetes"),
    ),
    "peak": (
        Source("PeakMemory", meaning=CHARGED), Source("MaxRSS", meaning=RESIDENT),
        Source("ResidentSetSize", KIB, RESIDENT), Source("MemoryUsage", MIB, RESIDENT),
        Source("memory", meaning=WORKING_SET, manager="kubernetes"),
    ),
    "limit": (
        Source("TimeLimit", timed=True), Source("Timelimit", timed=True), Source("TimelimitRaw", 60),
        Source("walltime"),
    ),
    "read": (Source("IORead"), Source("ReadBytes"), Source("BytesRead")),
    "written": (Source("IOWritten"), Source("WriteBytes"), Source("WrittenBytes"), Source("BytesWritten")),
    "energy": (Source("Energy"), Source("ConsumedEnergyRaw")),
}  # fmt: skip

SUBMITTED = ("submit_time", "submission_time", "submitted", "Submit", "SubmitTime", "QDate")
"""Meta keys that may have the moment of submission."""

LIMITS = ("time_limit", "TimeLimit", "Timelimit", "walltime", "walltime_seconds")
"""Meta keys that may have the time limit: seconds, HH:MM:SS or D-HH:MM:SS."""

ENERGY_SOURCES = ("energy_source", "EnergySource")
"""Meta keys that may say how the energy is known."""

JOBS = ("job_id", "jobid", "JobID", "JobId")
ARRAYS = ("array_id", "array_job_id", "ArrayJobId", "array", "cluster_id", "ClusterId")
"""Meta keys that may have the id of a job, and of the array that it is of."""


class Names(Struct, frozen=True):
    """The sources of each quantity; `of` gives them with those first that somebody chose."""

    chosen: Mapping[str, str] = {}
    """Component by quantity; its amount is in the unit that QUANTITIES tells."""

    def of(self, quantity: str) -> tuple[Source, ...]:
        """Where to look for a quantity, in order."""
        own = self.chosen.get(quantity)
        return (*(() if own is None else (Source(own),)), *_TABLE[quantity])
