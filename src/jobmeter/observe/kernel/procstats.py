"""What /proc says of the whole node: memory, processors, load, pressure, paging.

Facts: proc(5) and the kernel's document on PSI. Every key of /proc/meminfo that the kernel has is taken; one that it
has not is left out. Steal and guest time stand under their own names.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence

from msgspec import Struct

from jobmeter.contract import Reading, SampleSource, SourceAbsent, SourceUnreadable
from jobmeter.model.job import RunningJob
from jobmeter.model.metric import Kind, Metric
from jobmeter.model.sample import Sample
from jobmeter.observe.host import Host
from jobmeter.observe.kept import KeptFile, kept

_STATES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest", "guest_nice")
_STAT = {b"intr": "intr", b"ctxt": "ctxt", b"processes": "processes", b"procs_blocked": "procs_blocked"}
_VMSTAT = (b"pgpgin", b"pgpgout", b"pswpin", b"pswpout", b"pgfault", b"pgmajfault", b"oom_kill")
_MEMINFO = re.compile(rb"^([^:\n]+):\s+(\d+)( kB)?$", re.MULTILINE)
_PRESSURE = ("cpu", "io", "memory", "irq")
_TICKS = os.sysconf("SC_CLK_TCK")
_LOAD = ("loadavg_1min", "loadavg_5min", "loadavg_15min", "loadavg_runnable", "loadavg_total_threads")


METRICS = (
    Metric("procstats_uptime_total", "seconds", Kind.COUNTER, "Time since the start."),
    Metric("procstats_uptime_idle", "seconds", Kind.COUNTER, "Idle time of all processors."),
    Metric(
        "procstats_meminfo_*", "kibibytes", Kind.GAUGE, "Each key of /proc/meminfo, in small letters; pages: count."
    ),
    Metric("procstats_vmstat_*", "count", Kind.COUNTER, "Paging, swapping, faults, kills for want of memory."),
    Metric("procstats_stat_cpu_*", "centiseconds", Kind.COUNTER, "Time of all processors by state."),
    Metric("procstats_stat_intr", "count", Kind.COUNTER, "Interrupts."),
    Metric("procstats_stat_ctxt", "count", Kind.COUNTER, "Switches between tasks."),
    Metric("procstats_stat_processes", "count", Kind.COUNTER, "Tasks that were begun."),
    Metric("procstats_stat_procs_blocked", "count", Kind.GAUGE, "Tasks that wait for a device."),
    Metric("procstats_loadavg_*", "count", Kind.GAUGE, "Load over 1, 5 and 15 minutes; runnable and all tasks."),
    Metric("procstats_pressure_*", "nanoseconds", Kind.COUNTER, "Time in which some or all tasks waited for a thing."),
)
"""For the reference: a `*` stands for the keys that the kernel has. The entries themselves are made of what it has."""


class Settings(Struct, frozen=True):
    """Nothing can be set."""


class ProcstatsSource:
    """Reads the node's files in /proc."""

    def __init__(self, host: Host) -> None:
        self._node = host.name
        proc = str(host.path("/proc"))
        names = ("uptime", "meminfo", "vmstat", "stat", "loadavg")
        self._files = {name: file for name in names if (file := kept(f"{proc}/{name}")) is not None}
        for name in _PRESSURE:
            if (file := kept(f"{proc}/pressure/{name}")) is not None and _says(file):
                self._files[f"pressure_{name}"] = file
        if "stat" not in self._files:
            raise SourceAbsent("there is no /proc/stat")
        self._keys: tuple[str, ...] = ()
        self._order: tuple[str, ...] = ()
        self._meminfo: dict[bytes, str] = {}
        self.metrics = tuple(_described(name, unit) for name, unit in self._units())

    def read(self, now_ns: int, jobs: Sequence[RunningJob], reading: Reading = Reading.ALL) -> Iterator[Sample]:
        """One sample of the node."""
        if reading is not Reading.ALL:
            return
        try:
            names, values = self._values()
        except (OSError, ValueError, IndexError) as fault:
            raise SourceUnreadable(f"a file of /proc is not understood: {fault}") from None
        involved = tuple(job.identity for job in jobs)
        yield Sample("procstats", self._node, None, now_ns, names, values, involved=involved)

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()

    def _values(self) -> tuple[tuple[str, ...], tuple[int | float | None, ...]]:
        found: dict[str, int | float] = {}
        for name, file in self._files.items():
            data = file.read_all() if name == "vmstat" else file.read()
            parse = _PARSERS.get(name)
            if name == "meminfo":
                found.update(self._memory(data))
            elif parse is not None:
                found.update(parse(data))
            else:
                found.update(_pressure(name, data))
        keys = tuple(found)
        if keys != self._keys:
            self._keys, self._order = keys, tuple(f"procstats_{name}" for name in keys)
        return self._order, tuple(found.values())

    def _memory(self, data: bytes) -> dict[str, int | float]:
        names = self._meminfo
        found: dict[str, int | float] = {}
        for key, value, _ in _MEMINFO.findall(data):
            name = names.get(key)
            if name is None:
                name = names[key] = f"meminfo_{_key(key)}"
            found[name] = int(value)
        return found

    def _units(self) -> Iterator[tuple[str, str]]:
        names, _ = self._values()
        sizes = (
            {match[0] for match in _MEMINFO.findall(self._files["meminfo"].read()) if match[2]}
            if ("meminfo" in self._files)
            else set()
        )
        in_kib = {f"procstats_meminfo_{_key(key)}" for key in sizes}
        for name in names:
            if name in in_kib:
                yield name, "kibibytes"
            elif name.startswith("procstats_stat_cpu_"):
                yield name, "centiseconds"
            elif name.startswith("procstats_uptime_"):
                yield name, "seconds"
            elif name.startswith("procstats_pressure_"):
                yield name, "nanoseconds"
            elif name in ("procstats_vmstat_pgpgin", "procstats_vmstat_pgpgout"):
                yield name, "kibibytes"
            else:
                yield name, "count"


def _described(name: str, unit: str) -> Metric:
    _, topic, key = name.split("_", 2)
    gauge = topic in ("meminfo", "loadavg") or name == "procstats_stat_procs_blocked"
    file = f"pressure/{key.partition('_')[0]}" if topic == "pressure" else topic
    return Metric(name, unit, Kind.GAUGE if gauge else Kind.COUNTER, f"`{key}` of /proc/{file}.")


def _says(file: KeptFile) -> bool:
    """Whether pressure is measured at all: where it is switched off, its files cannot be read."""
    try:
        return bool(file.read())
    except OSError:
        return False


def _key(key: bytes) -> str:
    return key.decode("ascii", "replace").lower().replace("(", "_").replace(")", "")


def _uptime(data: bytes) -> dict[str, int | float]:
    total, idle = data.split()[:2]
    return {"uptime_total": int(float(total)), "uptime_idle": int(float(idle))}


def _vmstat(data: bytes) -> dict[str, int | float]:
    found: dict[str, int | float] = {}
    for key in _VMSTAT:
        at = data.find(b"\n" + key + b" ")
        if at >= 0:
            found[f"vmstat_{key.decode()}"] = int(data[at + len(key) + 2 : data.index(b"\n", at + 1)])
    return found


def _stat(data: bytes) -> dict[str, int | float]:
    ticks = data[: data.index(b"\n")].split()[1:]
    found: dict[str, int | float] = {
        f"stat_cpu_{state}": int(value) * 100 // _TICKS for state, value in zip(_STATES, ticks, strict=False)
    }
    for key, name in _STAT.items():
        at = data.find(b"\n" + key + b" ")
        if at >= 0:
            start = at + len(key) + 2
            found[f"stat_{name}"] = int(data[start : start + 32].split(None, 1)[0])
    return found


def _loadavg(data: bytes) -> dict[str, int | float]:
    one, five, fifteen, tasks = data.split()[:4]
    runnable, total = tasks.split(b"/")
    return dict(zip(_LOAD, (float(one), float(five), float(fifteen), int(runnable), int(total)), strict=True))


def _pressure(name: str, data: bytes) -> dict[str, int | float]:
    return {
        f"{name}_{line.partition(b' ')[0].decode()}": int(line.rpartition(b"total=")[2]) * 1000
        for line in data.splitlines()
        if b"total=" in line
    }


_PARSERS = {"uptime": _uptime, "vmstat": _vmstat, "stat": _stat, "loadavg": _loadavg}


def open_source(settings: Settings, host: Host) -> SampleSource:  # noqa: ARG001 - there is nothing to set
    """The node's own numbers. Raises SourceAbsent without /proc."""
    return ProcstatsSource(host)
