"""Joins summaries to the records of their jobs, in the background, whichever of the two comes first.

What came is told here by those who stored it, and is looked at within a second. Nothing depends on being told: what
still waits for its record is looked through at the start and again and again. All steps may be repeated.

A joined record is changed as by a correction: what it was stays as a version, by `samples`, for `job summary`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from itertools import islice
from typing import TypeVar

from msgspec import Struct

from jobmeter.contract import Clock, RecordStore, StoreUnavailable
from jobmeter.keeping import JobKey, JobPart, SummaryStore
from jobmeter.model.adding import added
from jobmeter.model.joining import Candidate, assigned, joined
from jobmeter.model.question import Scope as Rows
from jobmeter.model.record import Record, RecordStop, microseconds
from jobmeter.model.summary import JobSummary
from jobmeter.model.version import Changed, Edit
from jobmeter.serve.joined import JoinSettings, record_ids
from jobmeter.serve.joins import Joins
from jobmeter.serve.reads import Readers
from jobmeter.wire.auditor import BadRecord, decode_record

WHO, WHY = "samples", "job summary"

PAUSE_SECONDS = 0.5
AWAY_SECONDS = 5.0
SWEEP_SECONDS = 600.0
AT_ONCE = 200
TOLD_MAX = 100_000

log = logging.getLogger("jobmeter.serve")
T = TypeVar("T")
EVERYTHING = Rows.everything()


class _Joint(Struct):
    """A record that may be a job's, as it is stored, and the summary that is its."""

    record: Record
    summary: JobSummary | None = None


class Joiner:
    """Joins over one store. What is told to it, is told in the event loop."""

    def __init__(  # noqa: PLR0913, PLR0917 - what it joins, and by which rules
        self,
        store: RecordStore,
        summaries: SummaryStore,
        readers: Readers,
        clock: Clock,
        settings: JoinSettings,
        counts: Joins,
    ) -> None:
        self._store = store
        self._kept = summaries
        self._readers = readers
        self._clock = clock
        self._settings = settings
        self._counts = counts
        self._records: dict[str, None] = {}
        self._jobs: dict[JobKey, None] = {}
        self._sweep_due = 0.0

    def records(self, records: Iterable[Record]) -> None:
        """These records are there."""
        for record in records:
            self._records[record.record_id] = None
            if (job := record.job_identity) is not None:
                self._jobs[job.manager, job.job] = None
        self._bound()

    def stops(self, stops: Iterable[RecordStop]) -> None:
        """These records have a stop time."""
        self._records |= dict.fromkeys(stop.record_id for stop in stops)
        self._bound()

    def summaries(self, summaries: Iterable[JobSummary]) -> None:
        """These summaries came."""
        self._jobs |= dict.fromkeys((one.job.manager, one.job.job) for one in summaries)
        self._bound()

    def _bound(self) -> None:
        """When too much was told to remember, all that waits is looked through instead."""
        if len(self._records) + len(self._jobs) > TOLD_MAX:
            self._records.clear()
            self._jobs.clear()
            self._sweep_due = 0.0

    async def run(self) -> None:
        """Join for ever."""
        while True:
            pause = PAUSE_SECONDS
            try:
                if time.monotonic() >= self._sweep_due:
                    self._sweep_due = time.monotonic() + SWEEP_SECONDS
                    await self._sweep()
                await self._told()
            except StoreUnavailable as fault:
                log.warning("join.put_off reason=%r", str(fault))
                self._sweep_due, pause = 0.0, AWAY_SECONDS
            except Exception:  # a supervisor loop: the server goes on whatever joining met
                log.exception("join.failed")
                pause = AWAY_SECONDS
            await asyncio.sleep(pause)

    async def _told(self) -> None:
        if self._records:
            with _given_back(self._records, len(self._records)) as told:
                self._jobs |= dict.fromkeys(await self._readers.ask(self._kept.jobs_of_records, told))
        while self._jobs:
            with _given_back(self._jobs, AT_ONCE) as jobs:
                await self._readers.ask(self.join, jobs)

    async def _sweep(self) -> None:
        """Look through all that waits, and give up what has waited too long."""
        before = self._clock.now() - timedelta(days=self._settings.wait_days)
        self._counts.given_up(await self._readers.ask(self._kept.give_up, microseconds(before) * 1000))
        after, waiting = 0, 0
        while found := await self._readers.ask(self._kept.waiting, after, AT_ONCE):
            await self._readers.ask(self.join, list(dict.fromkeys(job for _, job in found)))
            after = found[-1][0]
            waiting += len(found)
        self._counts.waiting(waiting)

    def join(self, jobs: Sequence[JobKey]) -> None:
        """Bring the records of these jobs to what their summaries say. Raises StoreUnavailable."""
        settled: dict[int, str] = {}
        joints: dict[str, _Joint] = {}
        for part in self._kept.parts(jobs):
            found = self._candidates(part)
            summaries = {id(summary): number for number, summary in part.summaries}
            parts = assigned([summary for _, summary in part.summaries], [one for one, _ in found])
            for candidate, record in found:
                its = parts.get(candidate.record_id)
                joints[candidate.record_id] = _Joint(record, None if its is None else added(its))
            settled |= {summaries[id(one)]: record_id for record_id, its in parts.items() for one in its}
        self._apply(joints)
        self._kept.settle(settled)

    def _candidates(self, part: JobPart) -> list[tuple[Candidate, Record]]:
        named: dict[str, str] = {}
        for _, summary in part.summaries:
            named |= dict.fromkeys(record_ids(summary.job, self._settings.rules), summary.job.cluster)
        named |= part.records
        found = []
        for record_id, cluster in named.items():
            body = self._store.one(record_id, EVERYTHING)
            if body is None:
                continue
            try:
                record = decode_record(body)
            except BadRecord:  # stored before there were rules for names; it stays as it is
                continue
            stop_ns = None if record.stop_time is None else microseconds(record.stop_time) * 1000
            found.append((Candidate(record_id, cluster, microseconds(record.start_time) * 1000, stop_ns), record))
        return found

    def _apply(self, joints: dict[str, _Joint]) -> None:
        wanted = self._settings.wanted

        def change(record: Record) -> Record:
            return joined(record, joints[record.record_id].summary, wanted)

        changed = [record_id for record_id, one in joints.items() if change(one.record) != one.record]
        if not changed:
            return
        outcomes = self._store.amend(changed, change, Edit(WHO, WHY, self._clock.now()))
        self._counts.joined(sum(one is Changed.DONE for one in outcomes))
        for record_id, outcome in zip(changed, outcomes, strict=True):
            if outcome is Changed.REFUSED:
                log.warning("join.refused record=%r", record_id)
        self._counts.refused(sum(one is Changed.REFUSED for one in outcomes))


@contextmanager
def _given_back(told: dict[T, None], most: int) -> Iterator[list[T]]:
    """At most so many of what was told, taken out; it is there again when the store was away."""
    some = list(islice(told, most))
    for one in some:
        del told[one]
    try:
        yield some
    except StoreUnavailable:
        told |= dict.fromkeys(some)
        raise
