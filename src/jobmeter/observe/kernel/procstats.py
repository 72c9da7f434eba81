"""What /proc says of the whole node: memory, processors, load, pressure, paging.

Facts: proc(5) and the kernel's document on PSI. Every key of /proc/meminfo that the kernel has is taken; one that it
has not is left out. Steal and guest time stand under their own names.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence

from msgspec import Struct

from jobmeter.contract import Reading, SampleSource, SourceAbsent, SourceUnreadable
from jobmeter.model.job import RunningJob
from jobmeter.model.metric import Kind, Metric
from jobmeter.model.sample import Sample
from jobmeter.observe.host import Host
from jobmeter.observe.kept import KeptFile, kept

log = logging.getLogger("jobmeter.observe")

_STATES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest", "guest_nice")
_STAT = (b"intr", b"ctxt", b"processes", b"procs_blocked")
_VMSTAT = (b"pgpgin", b"pgpgout", b"pswpin", b"pswpout", b"pgfault", b"pgmajfault", b"oom_kill")
_TICKS = os.sysconf("SC_CLK_TCK")
_UNITS = {
    "uptime": "seconds",
    "pressure": "nanoseconds",
    "vmstat_pgpgin": "kibibytes",
    "vmstat_pgpgout": "kibibytes",
}
_LOAD = ("loadavg_1min", "loadavg_5min", "loadavg_15min", "loadavg_runnable", "loadavg_total_threads")

Value = int | float | None
Parse = Callable[[bytes], list[Value]]
Learned = tuple[tuple[str, ...], Parse]
Learn = Callable[[bytes], Learned]
"""From what a file says at first to the names of its values, and what finds these values ever after."""

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


class _Part(Struct):
    """One file: how it is asked and read, and how many values it has. `told` once it was not understood."""

    name: str
    file: KeptFile
    say: Callable[[], bytes]
    parse: Parse
    count: int
    told: bool = False

    def read(self) -> list[Value] | None:
        """Its values now; None where it cannot be read or has other lines than at the start, which is said once."""
        try:
            values = self.parse(self.say())
            reason = "" if len(values) == self.count else "it has other lines than at the start"
        except (OSError, ValueError, IndexError) as fault:
            reason = str(fault)
        if not reason:
            self.told = False
            return values
        if not self.told:
            self.told = True
            log.warning("procstats.not_understood file=/proc/%s reason=%r", self.name, reason)
        return None


class ProcstatsSource:
    """Reads the node's files in /proc."""

    def __init__(self, host: Host) -> None:
        self._node = host.name
        proc = str(host.path("/proc"))
        self._parts: list[_Part] = []
        names: list[str] = []
        sizes: set[str] = set()
        for name, learn in _LEARN.items():
            file = kept(f"{proc}/{name}")
            data = None if file is None else _text(file)
            if file is None or not data:
                continue  # where pressure is switched off, its files are there and cannot be read
            found, parse = learn(data)
            names += found
            self._parts.append(_Part(name, file, file.read_all if name == "vmstat" else file.read, parse, len(found)))
            if name == "meminfo":
                sizes = {
                    f"meminfo_{_key(line.partition(b':')[0])}" for line in data.splitlines() if line.endswith(b" kB")
                }
        if not any(name.startswith("stat_") for name in names):
            self.close()
            raise SourceAbsent("there is no /proc/stat")
        self._names = tuple(f"procstats_{name}" for name in names)
        self.metrics = tuple(_described(name, name in sizes) for name in names)

    def read(self, now_ns: int, jobs: Sequence[RunningJob], reading: Reading = Reading.ALL) -> Iterator[Sample]:
        """One sample of the node."""
        if reading is not Reading.ALL:
            return
        values: list[Value] = []
        faults = 0
        for part in self._parts:
            found = part.read()
            faults += found is None
            values += [None] * part.count if found is None else found
        if faults == len(self._parts):
            raise SourceUnreadable("no file of /proc is understood")
        involved = tuple(job.identity for job in jobs)
        yield Sample("procstats", self._node, None, now_ns, self._names, tuple(values), involved=involved)

    def close(self) -> None:
        """Close the files."""
        for part in self._parts:
            part.file.close()


def _described(name: str, is_size: bool) -> Metric:
    topic, _, key = name.partition("_")
    gauge = topic in ("meminfo", "loadavg") or name == "stat_procs_blocked"
    file = f"pressure/{key.partition('_')[0]}" if topic == "pressure" else topic
    unit = "kibibytes" if is_size else _UNITS.get(name, _UNITS.get(topic, "count"))
    unit = "centiseconds" if name.startswith("stat_cpu_") else unit
    return Metric(f"procstats_{name}", unit, Kind.GAUGE if gauge else Kind.COUNTER, f"`{key}` of /proc/{file}.")


def _text(file: KeptFile) -> bytes:
    try:
        return file.read_all()
    except OSError:
        file.close()
        return b""


def _key(key: bytes) -> str:
    return key.decode("ascii", "replace").lower().replace("(", "_").replace(")", "")


def _uptime(_: bytes) -> Learned:
    return ("uptime_total", "uptime_idle"), lambda data: [int(float(word)) for word in data.split()[:2]]


def _loadavg(_: bytes) -> Learned:
    def parse(data: bytes) -> list[Value]:
        one, five, fifteen, tasks = data.split()[:4]
        runnable, total = tasks.split(b"/")
        return [float(one), float(five), float(fifteen), int(runnable), int(total)]

    return _LOAD, parse


def _meminfo(data: bytes) -> Learned:
    """Each line is a key, a number and mostly a unit; where the lines stand is looked up anew when they are others."""
    keys, places = _places(data.split())

    def parse(data: bytes) -> list[Value]:
        words = data.split()
        if len(words) <= places[-1] or [words[place - 1] for place in places] != keys:
            found = dict(zip(*_places(words), strict=True))
            return [int(words[found[key]]) if key in found else None for key in keys]
        return [int(words[place]) for place in places]

    return tuple(f"meminfo_{_key(key[:-1])}" for key in keys), parse


def _places(words: list[bytes]) -> tuple[list[bytes], list[int]]:
    """The keys among the words, and where their numbers stand."""
    places = [place + 1 for place, word in enumerate(words) if word.endswith(b":")]
    return [words[place - 1] for place in places], places


def _lines(topic: str, keys: Sequence[bytes]) -> Learn:
    """The numbers of a few lines `KEY NUMBER` of a long file."""

    def learn(data: bytes) -> Learned:
        heads = [b"\n" + key + b" " for key in keys if b"\n" + key + b" " in data]

        def parse(data: bytes) -> list[Value]:
            return [_number_behind(data, head) for head in heads]

        return tuple(f"{topic}_{head.decode().strip()}" for head in heads), parse

    return learn


def _number_behind(data: bytes, head: bytes) -> int | None:
    at = data.find(head)
    return None if at < 0 else int(data[at + len(head) : at + len(head) + 32].split(None, 1)[0])


def _stat(data: bytes) -> Learned:
    states = _STATES[: len(data[: data.index(b"\n")].split()) - 1]
    names, parse_lines = _lines("stat", _STAT)(data)

    def parse(data: bytes) -> list[Value]:
        ticks = data[: data.index(b"\n")].split()[1 : len(states) + 1]
        return [*(int(value) * 100 // _TICKS for value in ticks), *parse_lines(data)]

    return (*(f"stat_cpu_{state}" for state in states), *names), parse


def _pressure(topic: str) -> Learn:
    """The lines `some` and `full`, as far as they are there: what they say in total."""

    def learn(data: bytes) -> Learned:
        kinds = [line.partition(b" ")[0].decode() for line in data.splitlines() if b"total=" in line]

        def parse(data: bytes) -> list[Value]:
            return [int(line.rpartition(b"total=")[2]) * 1000 for line in data.splitlines() if b"total=" in line]

        return tuple(f"pressure_{topic}_{kind}" for kind in kinds), parse

    return learn


_LEARN: Mapping[str, Learn] = {
    "uptime": _uptime,
    "meminfo": _meminfo,
    "vmstat": _lines("vmstat", _VMSTAT),
    "stat": _stat,
    "loadavg": _loadavg,
    **{f"pressure/{topic}": _pressure(topic) for topic in ("cpu", "io", "memory", "irq")},
}
"""How each file is read: what there is of it is learned once."""


def open_source(settings: Settings, host: Host) -> SampleSource:  # noqa: ARG001 - there is nothing to set
    """The node's own numbers. Raises SourceAbsent without /proc."""
    return ProcstatsSource(host)
