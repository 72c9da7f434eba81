"""The archive beside a running server: at the times of its schedule, in a thread of its own, told by metrics.

Of several servers on one database one archives; the others find it busy and leave it to that one.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from time import perf_counter

from msgspec import structs
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from jobmeter.contract import Clock, StoreUnavailable
from jobmeter.keeping import ArchiveState
from jobmeter.model.record import from_microseconds
from jobmeter.observe.host import SystemClock
from jobmeter.serve.archive_settings import Archiving, archiving_of
from jobmeter.serve.settings import ServeSettings
from jobmeter.store.address import sqlite_path
from jobmeter.store.archive import ledger
from jobmeter.store.archive.moving import Plan, RowsChanged, archive_old
from jobmeter.store.archive.shelf import ArchiveBusy
from jobmeter.store.archive.writing import FileFaulty
from jobmeter.store.open import ArchivingStore

log = logging.getLogger("jobmeter.run")

WAIT_SECONDS_MAX = 300.0
"""Clocks are set: nobody sleeps longer than this before looking at the time again."""


def plan_of(archiving: Archiving, url: str) -> Plan | None:
    """The plan for the database at `url`; None when nobody said where files shall lie."""
    folder = archive_folder(archiving, url)
    if folder is None:
        return None
    return Plan(folder, archiving.older_than_months, archiving.prefix, archiving.compression)


def archive_folder(archiving: Archiving | None, url: str) -> Path | None:
    """Where the files are: as said, or beside an SQLite database."""
    if archiving is not None and archiving.folder is not None:
        return Path(archiving.folder)
    path = sqlite_path(url)
    return None if path is None else path.parent / "archive"


def folder_of(settings: ServeSettings, url: str) -> Path | None:
    """Where files of the database at `url` are looked for first."""
    return archive_folder(archiving_of(settings.archive, settings.archival_config), url)


def archive_place_fault(settings: ServeSettings, url: str) -> str | None:
    """Why what the settings ask for has no place, as a sentence."""
    archiving = archiving_of(settings.archive, settings.archival_config)
    if archiving is None or plan_of(archiving, url) is not None:
        return None
    return "archive.path is missing: beside a PostgreSQL database there is no folder for the files"


def scheduled_archive(store: ArchivingStore, settings: ServeSettings, url: str) -> Scheduled | None:
    """What archives as the settings say, not started yet; None when they archive nothing."""
    archiving = archiving_of(settings.archive, settings.archival_config)
    plan = None if archiving is None else plan_of(archiving, url)
    return None if archiving is None or plan is None else Scheduled(store, plan, archiving, SystemClock())


class Scheduled(threading.Thread):
    """Archives when the schedule says so, until `stop` is called. `meter` tells what it did."""

    def __init__(self, store: ArchivingStore, plan: Plan, archiving: Archiving, clock: Clock) -> None:
        super().__init__(name="jobmeter-archiving", daemon=True)
        self._store = store
        self._plan = plan
        self.archiving = archiving
        self._clock = clock
        self._ended = threading.Event()
        self.meter = ArchiveMeter(store)

    def run(self) -> None:
        """Wait and archive."""
        if self.archiving.at_start and not self._ended.wait(1.0):
            self._archive()
        while not self._ended.is_set():
            due = self.archiving.schedule.after(self._clock.now())
            if due is None or not self._reached(due):
                return
            self._archive()

    def stop(self) -> None:
        """End after the file that is being written."""
        self._ended.set()
        if self.is_alive():
            self.join()

    def _reached(self, due: datetime) -> bool:
        """Wait until then; False when told to stop."""
        while (left := (due - self._clock.now()).total_seconds()) > 0:
            if self._ended.wait(min(left, WAIT_SECONDS_MAX)):
                return False
        return not self._ended.is_set()

    def _archive(self) -> None:
        began = perf_counter()
        records = 0
        try:
            with self._store.shelf() as shelf:
                for moved in archive_old(shelf, self._plan, self._clock.now()):
                    records += moved.records
                    if self._ended.is_set():
                        break
        except ArchiveBusy:
            log.info("archive.busy another process archives this database")
            return
        except (StoreUnavailable, OSError, FileFaulty, RowsChanged) as fault:
            log.error("archive.failed records=%d reason=%r", records, str(fault))  # noqa: TRY400 - the reason says all
            self.meter.failed(self._clock.now())
            return
        except Exception:  # a supervisor loop: the server and the next run go on whatever one run met
            log.exception("archive.failed records=%d", records)
            self.meter.failed(self._clock.now())
            return
        log.info("archive.done records=%d seconds=%.1f", records, perf_counter() - began)
        self.meter.succeeded(self._clock.now())


class ArchiveShown:
    """See `jobmeter.keeping.ArchiveView`. `scheduled` None: nothing is archived by itself."""

    def __init__(self, store: ArchivingStore, scheduled: Scheduled | None) -> None:
        self._store = store
        self._scheduled = scheduled

    def state(self, now: datetime) -> ArchiveState:
        """How it is. Raises StoreUnavailable."""
        files = self._store.archived_files()
        found = ArchiveState(
            files=len(files),
            records=sum(ledger.left_in(file) for file in files),
            size_bytes=sum(file.size_bytes for file in files),
            newest=max((from_microseconds(file.written_us) for file in files), default=None),
        )
        if (scheduled := self._scheduled) is None:
            return found
        return structs.replace(
            found,
            succeeded=scheduled.meter.last_success,
            failed=scheduled.meter.last_failure,
            due=scheduled.archiving.schedule.after(now),
            months=scheduled.archiving.older_than_months,
        )


class ArchiveMeter(Collector):
    """The archive for `/metrics`: what the database lists, and how the runs of this process ended."""

    def __init__(self, store: ArchivingStore) -> None:
        self._store = store
        self.last_success: datetime | None = None
        self.last_failure: datetime | None = None
        self._failures = 0

    def succeeded(self, moment: datetime) -> None:
        """A run ended well."""
        self.last_success = moment

    def failed(self, moment: datetime) -> None:
        """A run ended with a fault."""
        self.last_failure = moment
        self._failures += 1

    def collect(self) -> Iterator[Metric]:
        """The families. What the database cannot tell now is left out."""
        yield from self._listed()
        yield CounterMetricFamily("jobmeter_archive_failures", "Runs that failed.", value=self._failures)
        for name, moment in (("success", self.last_success), ("failure", self.last_failure)):
            if moment is not None:
                yield GaugeMetricFamily(
                    f"jobmeter_archive_last_{name}_timestamp_seconds",
                    f"When a run of this process last ended with {name}.",
                    value=moment.timestamp(),
                )

    def _listed(self) -> Iterator[Metric]:
        try:
            files = self._store.archived_files()
        except StoreUnavailable:
            return
        sums = {
            "files": ("Files that are listed.", len(files)),
            "records": ("Archived records.", sum(ledger.left_in(file) for file in files)),
            "bytes": ("Size of all files.", sum(file.size_bytes for file in files)),
        }
        for name, (says, value) in sums.items():
            yield GaugeMetricFamily(f"jobmeter_archive_{name}", says, value=value)
