"""Graphics processors of NVIDIA: power, energy, temperature, use, memory, for the node and for each job on them.

The library NVML is asked in a thread of its own, because a driver in trouble answers late. A job has a processor when
one of its processes computes on it. Facts: NVIDIA's reference of NVML. Needs the package nvidia-ml-py.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from msgspec import Meta, Struct

from jobmeter.contract import Reading, SampleSource, SourceAbsent, SourceUnreadable
from jobmeter.model.job import RunningJob
from jobmeter.model.metric import Kind, Metric
from jobmeter.model.sample import Sample
from jobmeter.observe.cgroups import Hierarchies, hierarchies
from jobmeter.observe.groups.members import Members
from jobmeter.observe.host import Host
from jobmeter.observe.latest import Latest

log = logging.getLogger("jobmeter.observe")

_DEVICE = "/dev/nvidiactl"

METRICS = (
    Metric("nvidia_power", "milliwatts", Kind.GAUGE, "Power of the processor and its board."),
    Metric("nvidia_energy", "millijoules", Kind.COUNTER, "Energy used since the driver was loaded."),
    Metric("nvidia_temperature", "degrees_celsius", Kind.GAUGE, "Temperature of the processor."),
    Metric("nvidia_utilization_gpu", "percent", Kind.GAUGE, "Share of time in which some kernel ran."),
    Metric("nvidia_utilization_memory", "percent", Kind.GAUGE, "Share of time in which memory was read or written."),
    Metric("nvidia_memory_total", "bytes", Kind.GAUGE, "Memory of the processor."),
    Metric("nvidia_memory_free", "bytes", Kind.GAUGE, "Memory that is free."),
    Metric("nvidia_memory_used", "bytes", Kind.GAUGE, "Memory that is used, by anybody."),
)
_NAMES = tuple(metric.name for metric in METRICS)


class Settings(Struct, frozen=True):
    """How often the processors are asked."""

    every_seconds: Annotated[float, Meta(description="How often the library is asked.", ge=0.05, le=86400)] = 1.0


class Device(Struct, frozen=True):
    """One processor now: its id, its values in the order of METRICS, and the processes that compute on it."""

    instance: str
    values: tuple[int | None, ...]
    processes: frozenset[int]


class NvidiaSource:
    """Gives the library's latest word, told apart by job."""

    def __init__(self, settings: Settings, host: Host, library: Any) -> None:
        self._node = host.name
        self.metrics = METRICS
        try:
            trees = hierarchies(host)
        except SourceAbsent:
            trees = Hierarchies({}, None)
        self._members = Members(host, trees)
        opened = Library(library)
        self._latest = Latest("nvidia", lambda _: opened.devices(), settings.every_seconds)

    def read(
        self,
        now_ns: int,  # noqa: ARG002 - a sample has the time of its reading
        jobs: Sequence[RunningJob],
        reading: Reading = Reading.ALL,
    ) -> Iterator[Sample]:
        """A sample of the node per processor, and one of each job per processor that it computes on."""
        if reading is not Reading.ALL:
            return
        found = self._latest.take()
        if found is None:
            return
        involved = tuple(job.identity for job in jobs)
        busy = [device for device in found[0] if device.processes]
        for device in found[0]:
            yield Sample(
                "nvidia", self._node, None, found[1], _NAMES, device.values, device.instance, involved=involved
            )
        for job in jobs if busy else ():
            processes = set(self._members.processes(job))
            for device in busy:
                if processes & device.processes:
                    yield Sample("nvidia", self._node, job.identity, found[1], _NAMES, device.values, device.instance)

    def await_answer(self, seconds: float) -> None:
        """Wait for the library's first word."""
        self._latest.await_first(seconds)

    def close(self) -> None:
        """Ask no more."""
        self._latest.close()


class Library:
    """NVML, kept open; after a fault, as when the driver was loaded again, it is opened anew.

    A processor that fell off the bus takes no other along.
    """

    def __init__(self, module: Any) -> None:
        self._module = module
        self._is_open = False
        self._told: frozenset[str] = frozenset()

    def devices(self) -> list[Device]:
        """All processors now. Raises SourceUnreadable when the library does not answer."""
        library = self._module
        found, faults = [], []
        try:
            if not self._is_open:
                library.nvmlInit()
                self._is_open = True
            for number in range(library.nvmlDeviceGetCount()):
                try:
                    found.append(_device(library, library.nvmlDeviceGetHandleByIndex(number)))
                except library.NVMLError as fault:
                    faults.append(f"processor {number}: {fault}")
        except library.NVMLError as fault:
            self._close()
            raise SourceUnreadable(f"NVML does not answer: {fault}") from None
        if faults and not found:
            self._close()
            raise SourceUnreadable(f"NVML does not answer: {faults[0]}")
        self._tell(faults)
        return found

    def _tell(self, faults: Sequence[str]) -> None:
        """Say once of each processor that it does not answer, while others do."""
        for fault in faults:
            if fault not in self._told:
                log.warning("nvidia.no_answer reason=%r", fault)
        self._told = frozenset(faults)

    def _close(self) -> None:
        if self._is_open:
            self._is_open = False
            with contextlib.suppress(self._module.NVMLError):
                self._module.nvmlShutdown()


def _device(library: Any, handle: Any) -> Device:
    name = library.nvmlDeviceGetUUID(handle)
    memory = _asked(library, library.nvmlDeviceGetMemoryInfo, handle)
    use = _asked(library, library.nvmlDeviceGetUtilizationRates, handle)
    values = (
        _asked(library, library.nvmlDeviceGetPowerUsage, handle),
        _asked(library, library.nvmlDeviceGetTotalEnergyConsumption, handle),
        _asked(library, library.nvmlDeviceGetTemperature, handle, library.NVML_TEMPERATURE_GPU),
        None if use is None else int(use.gpu),
        None if use is None else int(use.memory),
        None if memory is None else int(memory.total),
        None if memory is None else int(memory.free),
        None if memory is None else int(memory.used),
    )
    processes = _asked(library, library.nvmlDeviceGetComputeRunningProcesses, handle) or []
    instance = name.decode() if isinstance(name, bytes) else str(name)
    return Device(instance, values, frozenset(int(process.pid) for process in processes))


def _asked(library: Any, question: Any, *words: Any) -> Any:
    """The answer; None where this processor cannot tell, as one that is divided cannot tell its use."""
    try:
        return question(*words)
    except (library.NVMLError_NotSupported, library.NVMLError_NoPermission, library.NVMLError_Unknown):
        return None


def open_source(settings: Settings, host: Host) -> SampleSource:
    """The processors of this host. Raises SourceAbsent where there are none, SourceUnreadable without the library."""
    if not host.path(_DEVICE).exists():
        raise SourceAbsent(f"there is no {_DEVICE}")
    try:
        library = importlib.import_module("pynvml")
    except ImportError:
        raise SourceUnreadable("the package nvidia-ml-py is not installed (pip install 'jobmeter[nvidia]')") from None
    return NvidiaSource(settings, host, library)
