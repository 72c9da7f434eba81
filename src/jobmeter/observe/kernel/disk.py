"""What the node reads from and writes to its disks. Facts: the kernel's document on iostats, /proc/diskstats."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta, Struct

from jobmeter.contract import SampleSource
from jobmeter.model.metric import Kind, Metric
from jobmeter.observe.devices import DeviceCounters
from jobmeter.observe.host import Host
from jobmeter.settings.pattern import pattern

_SECTOR_BYTES = 512
_ASK_SECONDS = 60.0
"""The folder of a disk that was just plugged in may come a little later than its counters."""

METRICS = (
    Metric("disk_reads", "count", Kind.COUNTER, "Reads that were completed."),
    Metric("disk_read_bytes", "bytes", Kind.COUNTER, "Read."),
    Metric("disk_read_time", "milliseconds", Kind.COUNTER, "Time spent by all reads."),
    Metric("disk_writes", "count", Kind.COUNTER, "Writes that were completed."),
    Metric("disk_write_bytes", "bytes", Kind.COUNTER, "Written."),
    Metric("disk_write_time", "milliseconds", Kind.COUNTER, "Time spent by all writes."),
    Metric("disk_busy_time", "milliseconds", Kind.COUNTER, "Time in which the disk had something to do."),
)


class Settings(Struct, frozen=True):
    """Which disks are read."""

    skip: Annotated[str, Meta(description="A regular expression for the names of disks to leave out.")] = (
        r"loop\d+|ram\d+|zram\d+|fd\d+|sr\d+|dm-\d+|md\d+|nbd\d+"
    )

    def __post_init__(self) -> None:
        pattern("skip", self.skip)


class _Disks:
    """The disks as a whole, without their partitions; which name is what is looked up every minute."""

    def __init__(self, settings: Settings, host: Host) -> None:
        self._skip = pattern("skip", settings.skip)
        self._block = str(host.path("/sys/block"))
        self._wanted: dict[str, bool] = {}
        self._asked = 0.0

    def parse(self, text: str) -> Iterator[tuple[str, tuple[int, ...]]]:
        if time.monotonic() - self._asked >= _ASK_SECONDS:
            self._asked = time.monotonic()
            self._wanted.clear()
        for line in text.splitlines():
            words = line.split(None, 13)
            if len(words) == 14 and self._is_wanted(words[2]):
                reads, _, read, reading, writes, _, written, writing, _, busy = map(int, words[3:13])
                sizes = (read * _SECTOR_BYTES, written * _SECTOR_BYTES)
                yield words[2], (reads, sizes[0], reading, writes, sizes[1], writing, busy)

    def _is_wanted(self, name: str) -> bool:
        wanted = self._wanted.get(name)
        if wanted is None:
            known = name.replace("/", "!")
            wanted = self._skip.fullmatch(name) is None and os.path.isdir(f"{self._block}/{known}")  # noqa: PTH112
            self._wanted[name] = wanted
        return wanted


def open_source(settings: Settings, host: Host) -> SampleSource:
    """The disks of this host. Raises SourceAbsent where the kernel does not count them."""
    return DeviceCounters("disk", host, "/proc/diskstats", METRICS, _Disks(settings, host).parse)
