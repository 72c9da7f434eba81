"""The energy meters of processors and memory: RAPL of Intel, and of AMD under the same names.

Facts: the kernel's document on powercap. Meters wrap; here they are put together again, so that a value only grows.
Duplicates by another way of access (`intel-rapl-mmio`) are left out. Only root may read them since 2020.
"""

from __future__ import annotations

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


class _Zone(Struct):
    """A meter: `instance` is `package-0`, or `package-0/dram` for a part of it."""

    instance: str
    file: KeptFile
    range: int
    last: int
    wrapped: int = 0


class RaplSource:
    """Reads all meters."""

    def __init__(self, settings: Settings, host: Host) -> None:
        self._node = host.name
        self.metrics = METRICS
        self._zones = _zones(str(host.path(_FOLDER)))
        if settings.mapping_file:
            lines = mapping([zone.instance for zone in self._zones])
            write_mapping(host, settings.mapping_folder, "RAPL", lines)

    def read(self, now_ns: int, jobs: Sequence[RunningJob], reading: Reading = Reading.ALL) -> Iterator[Sample]:
        """A sample of the node per meter."""
        if reading is not Reading.ALL:
            return
        involved = tuple(job.identity for job in jobs)
        for zone in self._zones:
            try:
                raw = int(zone.file.read())
            except (OSError, ValueError) as fault:
                raise SourceUnreadable(f"the meter {zone.instance} cannot be read: {fault}") from None
            if raw < zone.last:
                zone.wrapped += zone.range
            zone.last = raw
            values = (zone.wrapped + raw, zone.range)
            yield Sample("rapl", self._node, None, now_ns, _NAMES, values, zone.instance, involved=involved)

    def close(self) -> None:
        """Close the files."""
        for zone in self._zones:
            zone.file.close()


def _zones(folder: str) -> list[_Zone]:
    try:
        names = sorted(name for name in os.listdir(folder) if _ZONE.fullmatch(name))  # noqa: PTH208
    except OSError:
        names = []
    if not names:
        raise SourceAbsent(f"there is no RAPL meter in {_FOLDER}")
    packages: dict[str, str] = {}
    zones = []
    for name in names:
        own = _text(f"{folder}/{name}/name")
        parent, colon, _ = name.rpartition(":")
        is_part = colon and parent in packages
        packages.setdefault(name, own)
        try:
            file = KeptFile(f"{folder}/{name}/energy_uj")
            raw, largest = int(file.read()), int(_text(f"{folder}/{name}/max_energy_range_uj"))
        except PermissionError:
            raise SourceUnreadable("only root may read the energy meters") from None
        except (OSError, ValueError) as fault:
            raise SourceUnreadable(f"the energy meter {name} cannot be read: {fault}") from None
        zones.append(_Zone(f"{packages[parent]}/{own}" if is_part else own, file, largest, raw))
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
