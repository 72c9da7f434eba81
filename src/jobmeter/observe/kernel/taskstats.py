"""What the kernel's interface taskstats counts for each task, added up for each job.

Processor time, waiting, faults, memory over time, reading and writing. Tasks that lived between two readings count:
the kernel tells the totals of every task that ends. Facts: the kernel's document on taskstats. It needs the capability
CAP_NET_ADMIN. Delays of devices, swapping and page freeing are counted only where kernel.task_delayacct is on.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from jobmeter.contract import Reading, SampleSource, SourceAbsent, SourceUnreadable
from jobmeter.model.job import JobIdentity, RunningJob
from jobmeter.model.metric import Kind, Metric
from jobmeter.model.sample import Sample
from jobmeter.observe.cgroups import Hierarchies, hierarchies
from jobmeter.observe.groups.activity import Activity
from jobmeter.observe.groups.members import Members
from jobmeter.observe.host import Host
from jobmeter.observe.tasks.account import Ended, TaskAccount
from jobmeter.observe.tasks.clock import used_ns
from jobmeter.observe.tasks.layout import FIELDS, Row
from jobmeter.observe.tasks.netlink import TaskstatsSocket, listeners

log = logging.getLogger("jobmeter.observe")

_NANOSECONDS = frozenset(
    {"cpu_delay_total", "blkio_delay_total", "swapin_delay_total", "cpu_run_real_total", "cpu_run_virtual_total"}
    | {"cpu_scaled_run_real_total", "freepages_delay_total"}
)
_MICROSECONDS = frozenset({"ac_etime", "ac_utime", "ac_stime", "ac_utimescaled", "ac_stimescaled"})
_BYTES = frozenset({"read_char", "write_char", "read_bytes", "write_bytes", "cancelled_write_bytes"})
_HELP = {
    "cpu_run_virtual_total": "Processor time by the scheduler's clock.",
    "cpu_run_real_total": "Processor time in user mode and in the kernel, by ticks.",
    "ac_btime": "When the first task began, in seconds since 1970.",
    "ac_etime": "How long the oldest task has run.",
    "coremem": "Resident memory added up over processor time.",
    "virtmem": "Virtual memory added up over processor time.",
}


class Settings(Struct, frozen=True):
    """What is asked for each job's tasks. Asking each task costs most of all, so it is done every 5 s at most."""

    own_period_seconds: ClassVar[float] = 5.0

    ends: Annotated[bool, Meta(description="Hear of every task that ends, so that short ones count, too.")] = True


def _unit(field: str) -> str:
    if field in _NANOSECONDS:
        return "nanoseconds"
    if field in _MICROSECONDS:
        return "microseconds"
    if field in _BYTES:
        return "bytes"
    return {"coremem": "mebibyte-microseconds", "virtmem": "mebibyte-microseconds", "ac_btime": "seconds"}.get(
        field, "count"
    )


METRICS = tuple(
    Metric(
        f"taskstats_{field}",
        _unit(field),
        Kind.GAUGE if field in ("ac_btime", "ac_etime") else Kind.COUNTER,
        _HELP.get(field, f"`{field}` of the kernel's taskstats, all tasks."),
    )
    for field in FIELDS
)
_NAMES = tuple(metric.name for metric in METRICS)


class TaskstatsSource:
    """Asks for the tasks of jobs, and hears of their ends."""

    def __init__(self, settings: Settings, host: Host, trees: Hierarchies) -> None:
        self._node = host.name
        self._members = Members(host, trees)
        self._activity = Activity(trees)
        self._socket = TaskstatsSocket()
        self._listeners: list[TaskstatsSocket] = []
        self._account: TaskAccount[tuple[JobIdentity, int], bytes] = TaskAccount(self._row, used_ns)
        self._lost = 0
        if settings.ends:
            try:
                possible = host.path("/sys/devices/system/cpu/possible").read_text(encoding="ascii")
                self._listeners = listeners(possible)
            except BaseException:
                self._socket.close()
                raise

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The catalogue entries."""
        return METRICS

    def read(self, now_ns: int, jobs: Sequence[RunningJob], reading: Reading = Reading.ALL) -> Iterator[Sample]:
        """One sample per job that ever had a task."""
        if reading is not Reading.LAST:
            for job in jobs:
                self._ask(job, now_ns)
        self._account.ended(self._ended())
        for job in jobs:
            total = self._account.total(_key(job))
            if total is not None:
                yield Sample("taskstats", self._node, job.identity, now_ns, _NAMES, total, since_ns=job.since_ns)
        if reading is Reading.ALL:
            self._account.turn(_key(job) for job in jobs)
            self._activity.keep(jobs)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Readable when tasks have ended."""
        return tuple(listener.fileno() for listener in self._listeners)

    def stirred(self) -> Mapping[JobIdentity, bool]:
        """The jobs in which tasks have ended, and whether these were the last."""
        self._account.ended(self._ended())
        touched = {key[0]: self._account.is_empty(key) for key in self._account.touched}
        self._account.touched.clear()
        return touched

    def close(self) -> None:
        """Close the sockets."""
        self._activity.close()
        for each in (self._socket, *self._listeners):
            each.close()

    def _ask(self, job: RunningJob, now_ns: int) -> None:
        """Take in what the tasks of a job have done."""
        key, now_us = _key(job), now_ns // 1000
        if not (self._activity.is_still(job) and self._account.still(key, now_us)):
            tasks = self._members.threads(job)
            self._account.living(key, now_us, tasks, self._socket.ask(self._account.stirring(key, tasks)))

    def _row(self, message: bytes) -> Row:
        return self._listeners[0].row(message)

    def _ended(self) -> Iterator[Ended[bytes]]:
        for listener in self._listeners:
            for each in listener.ended():
                if each is not None:
                    yield each
                else:
                    self._lost += 1
                    if self._lost.bit_count() == 1:  # the first time, the second, the fourth, ...
                        log.warning("taskstats.ends_lost times=%d", self._lost)


def _key(job: RunningJob) -> tuple[JobIdentity, int]:
    return job.identity, job.found_ns


def open_source(settings: Settings, host: Host) -> SampleSource:
    """The tasks of this host. Raises SourceAbsent or SourceUnreadable."""
    try:
        trees = hierarchies(host)
    except SourceAbsent:
        trees = Hierarchies({}, None)
    try:
        return TaskstatsSource(settings, host, trees)
    except OSError as fault:
        raise SourceUnreadable(f"taskstats cannot be opened: {fault.strerror}") from None
