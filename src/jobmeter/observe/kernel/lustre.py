"""What a node reads from and writes to Lustre, for each mounted file system.

Facts: Lustre's manual on `llite.*.stats`. The file is in /proc in old clients and in debugfs in new ones, in which each
line has the sum of squares behind the sum. It counts the calls of programs, also those that a cache answers.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from typing import Annotated

from msgspec import Meta, Struct

from jobmeter.contract import Reading, SampleSource, SourceAbsent, SourceUnreadable
from jobmeter.model.job import RunningJob
from jobmeter.model.metric import Kind, Metric
from jobmeter.model.sample import Sample
from jobmeter.observe.host import Host
from jobmeter.observe.rising import Rising

log = logging.getLogger("jobmeter.observe")

_FOLDERS = ("/proc/fs/lustre/llite", "/sys/kernel/debug/lustre/llite")
_COUNT, _SUM = 1, 6

METRICS = (
    Metric("lustre_reads", "count", Kind.COUNTER, "Calls that read."),
    Metric("lustre_read_bytes", "bytes", Kind.COUNTER, "Read by these calls."),
    Metric("lustre_writes", "count", Kind.COUNTER, "Calls that write."),
    Metric("lustre_write_bytes", "bytes", Kind.COUNTER, "Written by these calls."),
)
_NAMES = tuple(metric.name for metric in METRICS)


class Settings(Struct, frozen=True):
    """Which file systems are read."""

    prefix: Annotated[str, Meta(description="Only file systems of this name; empty for all.")] = ""


class LustreSource:
    """Reads all mounts; a file system that is mounted later is found, too."""

    def __init__(self, settings: Settings, host: Host) -> None:
        self._node = host.name
        self._prefix = settings.prefix
        self.metrics = METRICS
        self._folders = [folder for name in _FOLDERS if os.path.isdir(folder := str(host.path(name)))]  # noqa: PTH112
        self._rising = Rising()
        self._told: frozenset[str] = frozenset()
        if not self._folders:
            raise SourceAbsent(f"there is no Lustre client: neither {' nor '.join(_FOLDERS)}")

    def read(self, now_ns: int, jobs: Sequence[RunningJob], reading: Reading = Reading.ALL) -> Iterator[Sample]:
        """A sample of the node per file system."""
        if reading is not Reading.ALL:
            return
        involved = tuple(job.identity for job in jobs)
        seen: set[str] = set()
        faults = []
        for folder in self._folders:
            for mount in _mounts(folder):
                name = mount.rpartition("-")[0] or mount
                if mount in seen or (self._prefix and name != self._prefix):
                    continue
                seen.add(mount)
                try:
                    values = self._rising.total(mount, _read(f"{folder}/{mount}/stats"))
                except FileNotFoundError:
                    continue  # it was unmounted meanwhile
                except SourceUnreadable as fault:
                    faults.append(str(fault))
                    continue
                yield Sample("lustre", self._node, None, now_ns, _NAMES, values, mount, involved=involved)

        self._tell(faults)
        if faults and len(faults) == len(seen):
            raise SourceUnreadable(faults[0])

    def close(self) -> None:
        """Nothing is kept open."""

    def _tell(self, faults: Sequence[str]) -> None:
        """Say once of each file system that it cannot be read, while others can."""
        for fault in faults:
            if fault not in self._told:
                log.warning("lustre.unreadable reason=%r", fault)
        self._told = frozenset(faults)


def _mounts(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208
    except OSError:
        return []


def _read(path: str) -> tuple[int, int, int, int]:
    try:
        with open(path, encoding="ascii", errors="replace") as file:  # noqa: PTH123 - as its neighbours
            return parse(file.read())
    except FileNotFoundError:
        raise
    except OSError as fault:
        raise SourceUnreadable(f"{path} cannot be read: {fault.strerror}") from None
    except (ValueError, IndexError):
        raise SourceUnreadable(f"{path} is not understood") from None


def parse(text: str) -> tuple[int, int, int, int]:
    """Reads, bytes read, writes, bytes written: `read_bytes COUNT samples [bytes] MIN MAX SUM ...`."""
    found = {"read_bytes": (0, 0), "write_bytes": (0, 0)}
    for line in text.splitlines():
        words = line.split()
        if words and words[0] in found:
            found[words[0]] = (int(words[_COUNT]), int(words[_SUM]))
    return (*found["read_bytes"], *found["write_bytes"])


def open_source(settings: Settings, host: Host) -> SampleSource:
    """The Lustre client of this host. Raises SourceAbsent where there is none."""
    return LustreSource(settings, host)
