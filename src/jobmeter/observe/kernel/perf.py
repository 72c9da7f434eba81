"""Hardware and software events of each job, counted by the kernel for its control group.

A counter is opened for each event, processor and job, when the job is found; it counts what every process of the job
does. Where there are more events than the hardware has counters, the kernel takes turns, and a count is scaled by the
time in which it ran. An event that a machine cannot count has no value. Facts: perf_event_open(2).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated

from msgspec import Meta, Struct

from jobmeter.contract import Reading, SampleSource, SourceAbsent, SourceUnreadable
from jobmeter.model.job import JobIdentity, RunningJob
from jobmeter.model.metric import Kind, Metric
from jobmeter.model.sample import Sample
from jobmeter.observe.cgroups import Hierarchies, hierarchies
from jobmeter.observe.counters.events import EVENTS, NoCounters, Opener, read
from jobmeter.observe.host import Host
from jobmeter.observe.mapping import write_mapping
from jobmeter.observe.tasks.netlink import expanded
from jobmeter.settings.fault import WrongValue

_COLMET_PLACES = 5
_FORBIDDEN = (
    "events need the capability CAP_PERFMON; where kernel.perf_event_paranoid is above 2, as on Debian and Ubuntu, "
    "that does not do: sysctl kernel.perf_event_paranoid=2, or CAP_SYS_ADMIN"
)

METRICS = tuple(
    Metric(
        f"perf_{event}",
        "nanoseconds" if event.endswith("_clock") else "count",
        Kind.COUNTER,
        f"The kernel's event {event.replace('_', '-')}.",
    )
    for event in EVENTS
)

log = logging.getLogger("jobmeter.observe")


class Settings(Struct, frozen=True):
    """Which events are counted. Each costs an open file for each processor and job."""

    events: Annotated[
        tuple[str, ...],
        Meta(description="Names of events; the first five fill Colmet's records.", min_length=1, max_length=28),
    ] = ("instructions", "cache_misses", "page_faults")
    mapping_file: Annotated[bool, Meta(description="Write Colmet's `perfhw_mapping.SECONDS.csv` at the start.")] = False
    mapping_folder: Annotated[str, Meta(description="Where it is written.")] = "."

    def __post_init__(self) -> None:
        for event in self.events:
            if event not in EVENTS:
                raise WrongValue("events", f"there is no event {event!r}; there is: {', '.join(EVENTS)}")


class _Open(Struct):
    found_ns: int
    descriptors: dict[str, list[int]]


class PerfSource:
    """Counts events of jobs."""

    def __init__(self, settings: Settings, host: Host, trees: Hierarchies) -> None:
        self._node = host.name
        self._events = tuple(dict.fromkeys(settings.events))
        self._names = tuple(f"perf_{event}" for event in self._events)
        self._trees = trees
        self._jobs: dict[JobIdentity, _Open] = {}
        self._told: set[str] = set()
        self.metrics = tuple(metric for metric in METRICS if metric.name in self._names)
        try:
            self._opener = Opener()
        except NoCounters as fault:
            raise SourceAbsent(str(fault)) from None
        self._online = host.path("/sys/devices/system/cpu/online")
        self._processors = expanded(self._online.read_text(encoding="ascii"))
        if settings.mapping_file:
            write_mapping(host, settings.mapping_folder, "perfhw", mapping(self._events))

    def read(self, now_ns: int, jobs: Sequence[RunningJob], reading: Reading = Reading.ALL) -> Iterator[Sample]:
        """One sample per job; counters outlive the job's folder, so the last one is whole."""
        for job in jobs:
            opened = self._jobs.get(job.identity)
            if opened is None or opened.found_ns != job.found_ns:
                self._forget(job.identity)
                opened = None if reading is Reading.LAST else self._opened(job)
                if opened is None:
                    continue
                self._jobs[job.identity] = opened
            values = tuple(self._sum(opened.descriptors.get(event, [])) for event in self._events)
            yield Sample("perf", self._node, job.identity, now_ns, self._names, values, since_ns=job.found_ns)
            if reading is Reading.LAST:
                self._forget(job.identity)
        if reading is Reading.ALL and len(self._jobs) > len(jobs):
            for identity in set(self._jobs) - {job.identity for job in jobs}:
                self._forget(identity)

    def close(self) -> None:
        """Close all counters."""
        for identity in list(self._jobs):
            self._forget(identity)

    def _opened(self, job: RunningJob) -> _Open | None:
        place = self._trees.folder("perf_event", job)
        if place is None:
            self._tell("jobs", "the jobs are in no tree in which events are counted for a group")
            return None
        try:
            group = os.open(place[1], os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        found: dict[str, list[int]] = {}
        self._processors = expanded(self._online.read_text(encoding="ascii"))  # some may have come or gone
        try:
            for event in self._events:
                found[event] = self._open(event, group)
        except SourceUnreadable:
            _close(found)
            raise
        finally:
            os.close(group)
        return _Open(job.found_ns, found)

    def _open(self, event: str, group: int) -> list[int]:
        """A counter per processor; none at all where one of them cannot be had."""
        descriptors: list[int] = []
        for processor in self._processors:
            try:
                descriptors.append(self._opener.open(event, group, processor))
            except OSError as fault:
                for each in descriptors:
                    os.close(each)
                if isinstance(fault, PermissionError):
                    raise SourceUnreadable(_FORBIDDEN) from None
                self._tell(event, fault.strerror or str(fault))
                return []
        return descriptors

    def _sum(self, descriptors: list[int]) -> int | None:
        if not descriptors:
            return None
        try:
            return sum(read(descriptor).scaled for descriptor in descriptors)
        except OSError:
            return None

    def _tell(self, event: str, reason: str) -> None:
        if event not in self._told:
            self._told.add(event)
            log.info("perf.not_counted event=%s reason=%r", event, reason)

    def _forget(self, identity: JobIdentity) -> None:
        opened = self._jobs.pop(identity, None)
        if opened is not None:
            _close(opened.descriptors)


def _close(descriptors: Mapping[str, Sequence[int]]) -> None:
    for each in descriptors.values():
        for descriptor in each:
            os.close(descriptor)


def mapping(events: Sequence[str]) -> list[str]:
    """Colmet's table of counters."""
    names = [*events[:_COLMET_PLACES], *["no_counter"] * _COLMET_PLACES][:_COLMET_PLACES]
    return [f"counter{place + 1},{name}" for place, name in enumerate(names)]


def open_source(settings: Settings, host: Host) -> SampleSource:
    """The events of this host's jobs. Raises SourceAbsent where there is no counting."""
    return PerfSource(settings, host, hierarchies(host))
