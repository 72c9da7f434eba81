"""Which files of a control group are read, for each controller and version."""

from __future__ import annotations

from msgspec import Struct

from jobmeter.model.metric import Kind, Metric
from jobmeter.observe.groups.text import NS_PER_TICK, Learn, devices, flat, number, operations, pressure


class GroupFile(Struct, frozen=True):
    """A file of a controller in this version of control groups, and how it is read.

    What `tells` says something new whenever a process ran, or memory was charged or given back. What `follows` says
    nothing new but when one does that tells and stands before it.
    """

    controller: str
    version: int
    name: str
    learn: Learn
    topic: str
    tells: bool = False
    follows: bool = False


def _counter(name: str, unit: str, text: str) -> Metric:
    return Metric(f"cgroup_{name}", unit, Kind.COUNTER, text)


def _gauge(name: str, unit: str, text: str) -> Metric:
    return Metric(f"cgroup_{name}", unit, Kind.GAUGE, text)


METRICS = (
    _counter("cpu_usage", "nanoseconds", "Processor time of all processes, also of those that have ended."),
    _counter("cpu_user", "nanoseconds", "The part of it in user mode; an estimate of the kernel."),
    _counter("cpu_system", "nanoseconds", "The part of it in the kernel; an estimate of the kernel."),
    _counter("cpu_periods", "count", "Periods in which a limit of processor time held."),
    _counter("cpu_throttled_periods", "count", "Those of them in which the limit was reached."),
    _counter("cpu_throttled", "nanoseconds", "How long processes were kept from running by the limit."),
    _gauge("memory_current", "bytes", "Memory charged to the job, with the page cache it filled."),
    _gauge("memory_peak", "bytes", "The most that was ever charged."),
    _gauge("memory_anon", "bytes", "Memory of processes that no file stands behind."),
    _gauge("memory_file", "bytes", "Page cache, with shared memory."),
    _gauge("memory_shmem", "bytes", "Shared memory and tmpfs; part of the page cache."),
    _gauge("memory_kernel", "bytes", "Memory of the kernel charged to the job."),
    _gauge("memory_swap", "bytes", "What is swapped out."),
    _counter("memory_faults", "count", "Page faults."),
    _counter("memory_major_faults", "count", "Page faults that needed a device."),
    _counter("memory_oom_kills", "count", "Processes killed because memory ran out."),
    _counter("io_read_bytes", "bytes", "Read from block devices."),
    _counter("io_write_bytes", "bytes", "Written to block devices."),
    _counter("io_reads", "count", "Read operations on block devices."),
    _counter("io_writes", "count", "Write operations on block devices."),
    _gauge("pids_current", "count", "Processes and threads."),
    _gauge("pids_peak", "count", "The most processes and threads there ever were."),
    _counter("pressure_cpu_some", "nanoseconds", "Time in which some task waited for a processor."),
    _counter("pressure_cpu_full", "nanoseconds", "Time in which all tasks waited for a processor."),
    _counter("pressure_io_some", "nanoseconds", "Time in which some task waited for a device."),
    _counter("pressure_io_full", "nanoseconds", "Time in which all tasks waited for a device."),
    _counter("pressure_memory_some", "nanoseconds", "Time in which some task waited for memory."),
    _counter("pressure_memory_full", "nanoseconds", "Time in which all tasks waited for memory."),
)
"""The catalogue entries of the source."""

_CPU_2 = {
    b"usage_usec": "cgroup_cpu_usage",
    b"user_usec": "cgroup_cpu_user",
    b"system_usec": "cgroup_cpu_system",
    b"throttled_usec": "cgroup_cpu_throttled",
}
_LIMIT = {b"nr_periods": "cgroup_cpu_periods", b"nr_throttled": "cgroup_cpu_throttled_periods"}
_MEMORY_2 = {
    b"anon": "cgroup_memory_anon",
    b"file": "cgroup_memory_file",
    b"shmem": "cgroup_memory_shmem",
    b"kernel": "cgroup_memory_kernel",
    b"pgfault": "cgroup_memory_faults",
    b"pgmajfault": "cgroup_memory_major_faults",
}
_MEMORY_1 = {
    b"total_rss": "cgroup_memory_anon",
    b"total_cache": "cgroup_memory_file",
    b"total_shmem": "cgroup_memory_shmem",
    b"total_swap": "cgroup_memory_swap",
    b"total_pgfault": "cgroup_memory_faults",
    b"total_pgmajfault": "cgroup_memory_major_faults",
}
_KILLS = {b"oom_kill": "cgroup_memory_oom_kills"}
_TICKS = {b"user": "cgroup_cpu_user", b"system": "cgroup_cpu_system"}
_IO_2 = {
    b"rbytes": "cgroup_io_read_bytes",
    b"wbytes": "cgroup_io_write_bytes",
    b"rios": "cgroup_io_reads",
    b"wios": "cgroup_io_writes",
}

FILES = (
    GroupFile("cpuacct", 1, "cpuacct.usage", number("cgroup_cpu_usage"), "cpu", tells=True),
    GroupFile("cpuacct", 1, "cpuacct.stat", flat(_TICKS, NS_PER_TICK), "cpu", follows=True),
    GroupFile("cpu", 1, "cpu.stat", flat(_LIMIT), "cpu"),
    GroupFile("cpu", 1, "cpu.stat", flat({b"throttled_time": "cgroup_cpu_throttled"}), "cpu"),
    GroupFile("cpuacct", 2, "cpu.stat", flat(_CPU_2, 1000), "cpu", tells=True),
    GroupFile("cpuacct", 2, "cpu.stat", flat(_LIMIT), "cpu", tells=True),
    GroupFile("memory", 1, "memory.usage_in_bytes", number("cgroup_memory_current"), "memory", tells=True),
    GroupFile("memory", 1, "memory.max_usage_in_bytes", number("cgroup_memory_peak"), "memory", follows=True),
    GroupFile("memory", 1, "memory.stat", flat(_MEMORY_1), "memory", follows=True),
    GroupFile("memory", 1, "memory.kmem.usage_in_bytes", number("cgroup_memory_kernel"), "memory", follows=True),
    GroupFile(
        "memory", 1, "memory.oom_control", flat({b"oom_kill": "cgroup_memory_oom_kills"}), "memory", follows=True
    ),
    GroupFile("memory", 2, "memory.current", number("cgroup_memory_current"), "memory", tells=True),
    GroupFile("memory", 2, "memory.peak", number("cgroup_memory_peak"), "memory", follows=True),
    GroupFile("memory", 2, "memory.stat", flat(_MEMORY_2), "memory", follows=True),
    GroupFile("memory", 2, "memory.swap.current", number("cgroup_memory_swap"), "memory", follows=True),
    GroupFile("memory", 2, "memory.events", flat(_KILLS), "memory", follows=True),
    GroupFile(
        "blkio",
        1,
        "blkio.throttle.io_service_bytes_recursive",
        operations({b"Read": "cgroup_io_read_bytes", b"Write": "cgroup_io_write_bytes"}),
        "io",
    ),
    GroupFile(
        "blkio",
        1,
        "blkio.throttle.io_serviced_recursive",
        operations({b"Read": "cgroup_io_reads", b"Write": "cgroup_io_writes"}),
        "io",
    ),
    GroupFile("blkio", 2, "io.stat", devices(_IO_2), "io"),
    GroupFile("pids", 1, "pids.current", number("cgroup_pids_current"), "pids"),
    GroupFile("pids", 1, "pids.peak", number("cgroup_pids_peak"), "pids"),
    GroupFile("pids", 2, "pids.current", number("cgroup_pids_current"), "pids"),
    GroupFile("pids", 2, "pids.peak", number("cgroup_pids_peak"), "pids"),
    GroupFile("", 2, "cpu.pressure", pressure("cgroup_pressure_cpu_some", "cgroup_pressure_cpu_full"), "pressure"),
    GroupFile("", 2, "io.pressure", pressure("cgroup_pressure_io_some", "cgroup_pressure_io_full"), "pressure"),
    GroupFile(
        "", 2, "memory.pressure", pressure("cgroup_pressure_memory_some", "cgroup_pressure_memory_full"), "pressure"
    ),
)
"""The unified tree has a job's files whatever controllers it is given: what is missing there is left out."""
