"""The energy meters of processors and memory: RAPL of Intel, and of AMD under the same names.

Facts: the kernel's document on powercap. Meters wrap; here they are put together again, so that a value only grows.
Duplicates by another way of access (`intel-rapl-mmio`) are left out. Only root may read them since 2020.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Sequence
from typing import Annotated

from msgspec import Meta, Struct

from jobmeter.contract import Reading, SampleSource, SourceAbsent, SourceUnreadable
from jobmeter.model.job import RunningJob
from jobmeter.model.metric import Kind, Metric
from jobmeter.model.sample import Sample
from jobmeter.observe.host import Host
from jobmeter.observe.kept import KeptFile
from jobmeter.observe.mapping import write_mapping
from jobmeter.observe.renewed import Renewed

log = logging.getLogger("jobmeter.observe")

_FOLDER = "/sys/class/powercap"
_ZONE = re.compile(r"(?:intel|amd)-rapl:\d+(?::\d+)?", re.ASCII)
_PLACES = 12
_KINDS = ("package", "core", "dram")

METRICS = (
    Metric("rapl_energy", "microjoules", Kind.COUNTER, "Energy used since the meter began, without its wraps."),
    Metric("rapl_energy_range", "microjoules", Kind.GAUGE, "Where the meter itself wraps."),
)
_NAMES = ("rapl_energy", "rapl_energy_range")


class Settings(Struct, frozen=True):
    """How the zones are told."""

    mapping_file: Annotated[bool, Meta(description="Write Colmet's `RAPL_mapping.SECONDS.csv` at the start.")] = False
    mapping_folder: Annotated[str, Meta(description="Where it is written.")] = "."


class _Zone(Struct, frozen=True):
    """A meter, and where it wraps."""

    file: KeptFile
    range: int

    def close(self) -> None:
        self.file.close()


class _Meter(Struct):
    """What a meter said last, and what it had counted before its last wrap."""

    last: int = 0
    wrapped: int = 0

    def total(self, raw: int, wraps_at: int) -> int:
        """All that it ever counted."""
        if raw < self.last:
            self.wrapped += wraps_at
        self.last = raw
        return self.wrapped + raw


class RaplSource:
    """Reads all meters; one that does not answer has no value, and is said once."""

    def __init__(self, settings: Settings, host: Host) -> None:
        self._node = host.name
        self.metrics = METRICS
        folder = str(host.path(_FOLDER))
        self._zones = Renewed(lambda: _zones(folder), _Zone.close)
        self._meters: dict[str, _Meter] = {}
        self._mute: set[str] = set()
        if not self._zones.devices():
            raise SourceAbsent(f"there is no RAPL meter in {_FOLDER}")
        try:
            list(self.read(0, ()))
        except SourceUnreadable:
            self.close()
            raise
        if settings.mapping_file:
            write_mapping(host, settings.mapping_folder, "RAPL", mapping(list(self._zones.devices())))

    def read(self, now_ns: int, jobs: Sequence[RunningJob], reading: Reading = Reading.ALL) -> Iterator[Sample]:
        """A sample of the node per meter."""
        if reading is not Reading.ALL:
            return
        involved = tuple(job.identity for job in jobs)
        zones = self._zones.devices()
        energies = {instance: self._energy(instance, zone) for instance, zone in zones.items()}
        if all(energy is None for energy in energies.values()):
            raise SourceUnreadable("no energy meter can be read; only root may")
        for instance, energy in energies.items():
            values = (energy, zones[instance].range)
            yield Sample("rapl", self._node, None, now_ns, _NAMES, values, instance, involved=involved)

    def close(self) -> None:
        """Close the files."""
        self._zones.close()

    def _energy(self, instance: str, zone: _Zone) -> int | None:
        try:
            raw = int(zone.file.read())
        except (OSError, ValueError) as fault:
            if instance not in self._mute:
                log.warning("rapl.meter_unreadable meter=%s reason=%r", instance, str(fault))
            self._mute.add(instance)
            return None
        self._mute.discard(instance)
        return self._meters.setdefault(instance, _Meter()).total(raw, zone.range)


def _zones(folder: str) -> dict[str, _Zone]:
    """The meters by name: `package-0`, `package-0/dram` for a part of it. Raises SourceUnreadable without the right."""
    try:
        names = sorted(name for name in os.listdir(folder) if _ZONE.fullmatch(name))  # noqa: PTH208
    except OSError:
        names = []
    packages: dict[str, str] = {}
    zones: dict[str, _Zone] = {}
    refused = 0
    for name in names:
        try:
            own = _text(f"{folder}/{name}/name")
            largest = int(_text(f"{folder}/{name}/max_energy_range_uj"))
            file = KeptFile(f"{folder}/{name}/energy_uj")
        except PermissionError:
            refused += 1
            continue
        except (OSError, ValueError):
            continue
        parent, colon, _ = name.rpartition(":")
        is_part = colon and parent in packages
        packages.setdefault(name, own)
        zones[f"{packages[parent]}/{own}" if is_part else own] = _Zone(file, largest)
    if refused and not zones:
        raise SourceUnreadable("only root may read the energy meters")
    return zones


def _text(path: str) -> str:
    with open(path, encoding="ascii", errors="replace") as file:  # noqa: PTH123 - as its neighbours
        return file.read().strip()


def mapping(instances: Sequence[str]) -> list[str]:
    """Colmet's table of counters: for each of four packages the package, its cores and its memory, energy and range."""
    packages = sorted(name for name in instances if name.startswith("package") and "/" not in name)
    lines = []
    for place in range(_PLACES):
        number, kind = place // len(_KINDS), _KINDS[place % len(_KINDS)]
        first, second = f"counter_{2 * place + 1}", f"counter_{2 * place + 2}"
        if number >= len(packages):
            lines += [f"{first},no_counter,,", f"{second},no_counter,,"]
            continue
        package = packages[number]
        if kind != "package" and f"{package}/{kind}" not in instances:
            lines += [f"{each},counter_not_supported_by_hardware,," for each in (first, second)]
            continue
        lines += [
            f"{first},energy_microjoule,{package},zone_{kind}",
            f"{second},max_energy_range_microjoule,{package},zone_{kind}",
        ]
    return lines


def open_source(settings: Settings, host: Host) -> SampleSource:
    """The energy meters. Raises SourceAbsent where there are none, SourceUnreadable for who may not read them."""
    return RaplSource(settings, host)
