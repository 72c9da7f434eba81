"""What is queued and what has just finished, by HTCondor or Slurm.

One question for all queues and jobs, one for those that finished. A job that finished is told of once: its place in
the history is the cursor, and its identity is remembered by the spool.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Annotated, Literal

from msgspec import Meta, Struct

from jobmeter.contract import DocumentBatch, Section, SourceUnreadable
from jobmeter.model.document import Document
from jobmeter.observe.host import Host
from jobmeter.observe.queues import condor, slurm
from jobmeter.observe.queues.job import (
    QueuedJob,
    QueueWanted,
    finished_documents,
    job_documents,
    queue_documents,
)
from jobmeter.observe.queues.source import BatchSystem
from jobmeter.settings.fault import WrongValue

_DOCUMENTS_AT_ONCE = 1000
_ODD_TOLD = 3


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """Which batch system is asked, and what is told of it."""

    system: Annotated[Literal["htcondor", "slurm"], Meta(description="The batch system.")] = "htcondor"
    queues: Annotated[tuple[QueueWanted, ...], Meta(description="Queues whose jobs are counted (-q).")] = ()
    schedds: Annotated[
        tuple[str, ...], Meta(description="HTCondor: the schedds, added up; empty: the one of this host.")
    ] = ()
    pool: Annotated[str | None, Meta(description="HTCondor: the collector to ask for the schedds.")] = None
    clusters: Annotated[tuple[str, ...], Meta(description="Slurm: its clusters; empty: the one of this host.")] = ()
    left_out: Annotated[
        tuple[str, ...], Meta(description="Users whose jobs are not told of; they count in queues.")
    ] = ("atlas-coffea",)
    details: Annotated[
        bool, Meta(description="Whether jobs tell of cores, memory (MiB), GPUs, and when they were queued and started.")
    ] = False
    live_runtime: Annotated[
        bool, Meta(description="HTCondor: whether the run that is under way counts in Runtime.")
    ] = True
    window_seconds: Annotated[int, Meta(ge=1, description="How far back the first reading of finished jobs goes.")] = (
        360
    )
    exactly_once: Annotated[
        bool, Meta(description="Whether a finished job is told of once; else all of the window in every run.")
    ] = True
    timeout_seconds: Annotated[float, Meta(gt=0, description="How long a command may keep us waiting.")] = 60

    def __post_init__(self) -> None:
        for place, queue in enumerate(self.queues if self.system == "slurm" else ()):
            try:
                slurm.conditions(queue.constraint)
            except ValueError as fault:
                raise WrongValue(f"queues[{place}].constraint", str(fault)) from None


class BatchSection:
    """A Section; see `jobmeter.contract`. The cursor is the place in the history of finished jobs."""

    def __init__(self, settings: Settings, host: Host, system: BatchSystem) -> None:
        self._settings = settings
        self._host = host
        self._system = system

    def read(self, cursor: str | None) -> Iterator[DocumentBatch]:
        """The queues, the jobs in them, and the jobs that finished."""
        try:
            yield from self._queued()
        except SourceUnreadable as fault:
            yield DocumentBatch((), unreadable=(f"the queue: {fault}",))
        try:
            yield from self._finished(cursor)
        except SourceUnreadable as fault:
            yield DocumentBatch((), unreadable=(f"finished jobs: {fault}",))

    def _queued(self) -> Iterator[DocumentBatch]:
        queued = self._system.queued()
        settings, now = self._settings, self._host.clock.now()
        told = [queue for queue in settings.queues if queue.name not in queued.untold]
        queues = queue_documents(told, queued.jobs, now)
        yield DocumentBatch(tuple(queues), unreadable=_told(queued.odd))
        documents = job_documents(self._kept(queued.jobs), now, details=settings.details, once=settings.exactly_once)
        yield from _batches(documents)

    def _finished(self, cursor: str | None) -> Iterator[DocumentBatch]:
        finished = self._system.finished(cursor)
        settings, now = self._settings, self._host.clock.now()
        documents = finished_documents(
            self._kept(finished.jobs), now, details=settings.details, once=settings.exactly_once
        )
        yield from _batches(documents)
        yield DocumentBatch((), finished.cursor, _told(finished.odd))

    def _kept(self, jobs: Iterable[QueuedJob]) -> Iterator[QueuedJob]:
        return (job for job in jobs if job.user not in self._settings.left_out)


def _batches(documents: Iterator[Document]) -> Iterator[DocumentBatch]:
    while some := tuple(islice(documents, _DOCUMENTS_AT_ONCE)):
        yield DocumentBatch(some)


def _told(odd: tuple[str, ...]) -> tuple[str, ...]:
    more = (f"{len(odd) - _ODD_TOLD} more entries made no sense",) if len(odd) > _ODD_TOLD else ()
    return (*odd[:_ODD_TOLD], *more)


def open_section(settings: Settings, host: Host) -> Section:
    """The queues of this host's batch system."""
    system: BatchSystem
    if settings.system == "slurm":
        options = slurm.Options(
            settings.clusters, settings.timeout_seconds, settings.window_seconds, settings.exactly_once
        )
        system = slurm.Slurm(options, settings.queues, host)
    else:
        asked = condor.Options(
            settings.schedds,
            settings.pool,
            settings.timeout_seconds,
            settings.live_runtime,
            settings.window_seconds,
            settings.exactly_once,
        )
        system = condor.Condor(asked, settings.queues, host)
    return BatchSection(settings, host, system)
