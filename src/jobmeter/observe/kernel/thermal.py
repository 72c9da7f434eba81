"""The temperatures of the kernel's thermal zones. Facts: the kernel's document on the thermal sysfs interface."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from typing import Annotated

from msgspec import Meta, Struct

from jobmeter.contract import Reading, SampleSource, SourceAbsent
from jobmeter.model.job import RunningJob
from jobmeter.model.metric import Kind, Metric
from jobmeter.model.sample import Sample
from jobmeter.observe.host import Host
from jobmeter.observe.kept import KeptFile, kept
from jobmeter.observe.mapping import write_mapping
from jobmeter.observe.renewed import Renewed

_FOLDER = "/sys/class/thermal"
_ZONE = re.compile(r"thermal_zone(\d+)", re.ASCII)
_PLACES = 6

METRICS = (Metric("thermal_temperature", "millidegrees_celsius", Kind.GAUGE, "Temperature of a thermal zone."),)
_NAMES = ("thermal_temperature",)


class Settings(Struct, frozen=True):
    """How the zones are told."""

    mapping_file: Annotated[bool, Meta(description="Write Colmet's `temperature_mapping.SECONDS.csv`.")] = False
    mapping_folder: Annotated[str, Meta(description="Where it is written.")] = "."


class ThermalSource:
    """Reads all zones; one that does not answer has no value."""

    def __init__(self, settings: Settings, host: Host) -> None:
        self._node = host.name
        self.metrics = METRICS
        folder = str(host.path(_FOLDER))
        self._zones = Renewed(lambda: _zones(folder), KeptFile.close)
        if not self._zones.devices():
            raise SourceAbsent(f"there is no thermal zone in {_FOLDER}")
        if settings.mapping_file:
            write_mapping(host, settings.mapping_folder, "temperature", mapping(tuple(self._zones.devices())))

    def read(self, now_ns: int, jobs: Sequence[RunningJob], reading: Reading = Reading.ALL) -> Iterator[Sample]:
        """A sample of the node per zone."""
        if reading is not Reading.ALL:
            return
        involved = tuple(job.identity for job in jobs)
        for instance, file in self._zones.devices().items():
            yield Sample("thermal", self._node, None, now_ns, _NAMES, (_value(file),), instance, involved=involved)

    def close(self) -> None:
        """Close the files."""
        self._zones.close()


def _zones(folder: str) -> dict[str, KeptFile]:
    """The zones by kind and number."""
    found = {}
    for number in _numbers(folder):
        file = kept(f"{folder}/thermal_zone{number}/temp")
        if file is not None:
            found[f"{_kind(f'{folder}/thermal_zone{number}/type') or 'zone'}_{number}"] = file
    return found


def _kind(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - as its neighbours
            return file.read().strip()
    except OSError:
        return ""


def mapping(instances: Sequence[str]) -> list[str]:
    """Colmet's table of counters: the zones 0 to 5 by their number."""
    by_number = {int(instance.rpartition("_")[2]): instance for instance in instances}
    return [
        f"counter_{place + 1}, {by_number[place]}" if place in by_number else f"counter_{place + 1}, no counter "
        for place in range(_PLACES)
    ]


def _numbers(folder: str) -> list[int]:
    try:
        names = os.listdir(folder)  # noqa: PTH208
    except OSError:
        return []
    return sorted(int(match[1]) for name in names if (match := _ZONE.fullmatch(name)))


def _value(file: KeptFile) -> int | None:
    try:
        return int(file.read())
    except (OSError, ValueError):
        return None


def open_source(settings: Settings, host: Host) -> SampleSource:
    """The thermal zones. Raises SourceAbsent where there are none."""
    return ThermalSource(settings, host)
