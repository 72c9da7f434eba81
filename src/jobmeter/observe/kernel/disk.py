"""What the node reads from and writes to its disks. Facts: the kernel's document on iostats, /proc/diskstats."""

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
from jobmeter.observe.kept import kept
from jobmeter.settings.fault import WrongValue

_SECTOR_BYTES = 512

METRICS = (
    Metric("disk_reads", "count", Kind.COUNTER, "Reads that were completed."),
    Metric("disk_read_bytes", "bytes", Kind.COUNTER, "Read."),
    Metric("disk_read_time", "milliseconds", Kind.COUNTER, "Time spent by all reads."),
    Metric("disk_writes", "count", Kind.COUNTER, "Writes that were completed."),
    Metric("disk_write_bytes", "bytes", Kind.COUNTER, "Written."),
    Metric("disk_write_time", "milliseconds", Kind.COUNTER, "Time spent by all writes."),
    Metric("disk_busy_time", "milliseconds", Kind.COUNTER, "Time in which the disk had something to do."),
)
_NAMES = tuple(metric.name for metric in METRICS)


class Settings(Struct, frozen=True):
    """Which disks are read."""

    skip: Annotated[str, Meta(description="A regular expression for the names of disks to leave out.")] = (
        r"loop\d+|ram\d+|zram\d+|fd\d+|sr\d+|dm-\d+|md\d+|nbd\d+"
    )

    def __post_init__(self) -> None:
        try:
            re.compile(self.skip)
        except re.error as fault:
            raise WrongValue("skip", f"is no regular expression: {fault}") from None


class DiskSource:
    """Reads all disks, as a whole and not by partition."""

    def __init__(self, settings: Settings, host: Host) -> None:
        self._node = host.name
        self._skip = re.compile(settings.skip)
        self._block = str(host.path("/sys/block"))
        self._whole: dict[str, bool] = {}
        self.metrics = METRICS
        file = kept(str(host.path("/proc/diskstats")))
        if file is None:
            raise SourceAbsent("there is no /proc/diskstats")
        self._file = file

    def read(self, now_ns: int, jobs: Sequence[RunningJob], reading: Reading = Reading.ALL) -> Iterator[Sample]:
        """A sample of the node per disk."""
        if reading is not Reading.ALL:
            return
        involved = tuple(job.identity for job in jobs)
        try:
            found = list(self._disks(self._file.read_all().decode("ascii", "replace")))
        except (OSError, ValueError, IndexError) as fault:
            raise SourceUnreadable(f"/proc/diskstats is not understood: {fault}") from None
        for name, values in found:
            yield Sample("disk", self._node, None, now_ns, _NAMES, values, name, involved=involved)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _disks(self, text: str) -> Iterator[tuple[str, tuple[int, ...]]]:
        for line in text.splitlines():
            words = line.split()
            if len(words) >= 14 and self._is_wanted(words[2]):
                reads, _, read, reading, writes, _, written, writing, _, busy = map(int, words[3:13])
                sizes = (read * _SECTOR_BYTES, written * _SECTOR_BYTES)
                yield words[2], (reads, sizes[0], reading, writes, sizes[1], writing, busy)

    def _is_wanted(self, name: str) -> bool:
        wanted = self._whole.get(name)
        if wanted is None:
            known = name.replace("/", "!")
            wanted = self._skip.fullmatch(name) is None and os.path.isdir(f"{self._block}/{known}")  # noqa: PTH112
            self._whole[name] = wanted
        return wanted


def open_source(settings: Settings, host: Host) -> SampleSource:
    """The disks of this host."""
    return DiskSource(settings, host)
