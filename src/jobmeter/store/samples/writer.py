"""The writing side of a sample store: one process at a time, many readers beside it.

What `write` has accepted is with the system, so it survives the end of the process at any point; after `flush` it
survives the end of the machine.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from jobmeter.contract import Clock
from jobmeter.model.job import JobIdentity
from jobmeter.model.metric import Metric
from jobmeter.model.outcome import Accepted, Keep, Outcome, Rejected
from jobmeter.model.sample import Sample, SampleBatch
from jobmeter.model.series import Series
from jobmeter.settings.samples import SampleBounds
from jobmeter.store.samples.fault import Damaged, StoreTaken
from jobmeter.store.samples.folder import LOCK, RAW, TIERS_SECONDS, last_number, listing, log_path, segment_path
from jobmeter.store.samples.folder import tier_folder as tier
from jobmeter.store.samples.head import Head, Names, Numbered
from jobmeter.store.samples.keeper import Keeper
from jobmeter.store.samples.log import Frame, LogReader, LogWriter
from jobmeter.store.samples.merge import seal
from jobmeter.store.samples.rows import Misfit, PackedRow, Rows
from jobmeter.store.samples.segment import Segment

TIDY_SECONDS = 60.0
FULL_DELAY_SECONDS = 5.0
CATALOGUE_SEGMENTS = 8
"""In so many of the newest segments units of metrics are looked up when a store is opened."""

log = logging.getLogger("jobmeter.store")


class SampleStoreWriter:
    """A sample sink (see `jobmeter.contract.SampleSink`) that fills a folder. Safe to call from several threads."""

    def __init__(self, folder: Path, bounds: SampleBounds, clock: Clock) -> None:
        """Make or open the store. Raises StoreTaken and OSError."""
        for part in (folder, folder / RAW, *(tier(folder, seconds) for seconds in TIERS_SECONDS)):
            part.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._bounds = bounds
        self._lock_file = _lock(folder / LOCK)
        self._guard = threading.Lock()
        self._tidy_guard = threading.Lock()
        self._keeper = Keeper(folder, bounds, clock)
        self._head = Head()
        self._began = time.monotonic()
        self._full: str | None = None
        self._again = 0.0
        self._log_empty = 0
        self._numbered = Numbered()
        try:
            self._first = self._recover()
            self._number = last_number(folder) + 1
            self._log = LogWriter(log_path(folder, self._number))
            self._name_metrics(self._log)
        except BaseException:
            os.close(self._lock_file)
            raise
        self._stopping = threading.Event()
        self._to_tidy = threading.Event()
        self._tidying = threading.Thread(target=self._tidy, name="jobmeter-samples", daemon=True)
        self._tidying.start()

    @property
    def damaged(self) -> dict[Path, str]:
        """Segments that cannot be read, with the reason."""
        return dict(self._keeper.damaged)

    def write(self, batch: SampleBatch) -> Sequence[Outcome]:
        """What became of each sample: accepted, rejected for good, or all to be kept because the disk is full."""
        with self._guard:
            if self._full is not None and not self._try_seal():
                return [Keep(FULL_DELAY_SECONDS, self._full)] * len(batch.samples)
            return self._write(batch)

    def flush(self) -> None:
        """Make all that was accepted durable, and seal what is old enough. Raises OSError."""
        with self._guard:
            self._log.sync()
            if self._head.count and time.monotonic() - self._began >= self._bounds.seal_seconds:
                self._try_seal()

    def reopen(self) -> None:
        """Put what is in memory into a segment."""
        with self._guard:
            self._try_seal()

    def close(self) -> None:
        """Flush, seal and release."""
        with self._guard:
            self._stopping.set()
            self._to_tidy.set()
            self._log.sync()
            self._again = 0.0
            self._try_seal()
            self._log.close()
            if not self._head.count:
                self._log.path.unlink()
        self._tidying.join()
        os.close(self._lock_file)

    def tidy(self) -> None:
        """Merge, roll up and remove until nothing is left to do; the same as goes on beside the writing."""
        with self._tidy_guard:
            while self._keeper.step():
                pass

    def _write(self, batch: SampleBatch) -> list[Outcome]:
        frame = Frame()
        unfit = self._learn(batch.metrics, frame)
        faults: dict[tuple[str, ...], str | None] = {}
        outcomes: list[Outcome] = []
        ready: list[tuple[Rows, PackedRow]] = []
        taken = Accepted()
        numbers = (len(self._numbered.series), len(self._numbered.involved))
        for sample in batch.samples:
            if sample.metrics not in faults:
                faults[sample.metrics] = self._fault(sample.metrics, unfit)
            reason = faults[sample.metrics]
            if reason is None:
                reason = self._prepare(sample, frame, ready)
            outcomes.append(taken if reason is None else Rejected(reason))
        if not ready and not frame.metrics:
            return outcomes
        try:
            self._log.append(frame)
        except OSError as fault:
            self._forget(frame, numbers)
            log.warning("samples.put_off reason=%r", str(fault))
            return [one if isinstance(one, Rejected) else Keep(FULL_DELAY_SECONDS, str(fault)) for one in outcomes]
        for rows, row in ready:
            self._head.add(rows, row)
        if self._head.values >= self._bounds.head_values:
            self._try_seal()
        return outcomes

    def _learn(self, metrics: Sequence[Metric], frame: Frame) -> dict[str, str]:
        """Take up new metrics; what speaks against one, by name."""
        unfit = {}
        for metric in metrics:
            known = self._head.metrics.get(metric.name)
            if known is None:
                self._head.metrics[metric.name] = metric
                frame.metrics.append(metric)
            elif known.unit != metric.unit or known.kind is not metric.kind:
                here = f"a {known.kind.value} in {known.unit}"
                unfit[metric.name] = f"{metric.name} is {here} here, not a {metric.kind.value} in {metric.unit}"
        return unfit

    def _fault(self, metrics: tuple[str, ...], unfit: dict[str, str]) -> str | None:
        if not metrics:
            return "it has no metric"
        if len(set(metrics)) != len(metrics):
            return "it has a metric twice"
        for name in metrics:
            if name in unfit:
                return unfit[name]
            if name not in self._head.metrics:
                return f"nobody has said in which unit {name} is"
        return None

    def _prepare(self, sample: Sample, frame: Frame, ready: list[tuple[Rows, PackedRow]]) -> str | None:
        series = Series(sample.node, sample.source, sample.job, sample.instance, sample.metrics)
        rows = self._head.rows(series)
        involved: tuple[JobIdentity, ...] = sample.involved
        try:
            row = rows.packed(sample.time_ns, sample.since_ns, self._head.number(involved), sample.values)
        except Misfit as fault:
            return str(fault)
        number = self._numbered.number(series, frame)
        listed = self._numbered.number_list(involved, frame)
        frame.rows.append((number, sample.time_ns, sample.since_ns, listed, sample.values))
        ready.append((rows, row))
        return None

    def _forget(self, frame: Frame, numbers: tuple[int, int]) -> None:
        """Undo the naming of a frame that is in no log."""
        named = self._numbered
        named.series = {one: number for one, number in named.series.items() if number < numbers[0]}
        named.involved = {one: number for one, number in named.involved.items() if number < numbers[1]}
        for metric in frame.metrics:
            del self._head.metrics[metric.name]

    def _try_seal(self) -> bool:
        """Put the head into a segment. False when the disk does not take it: the head stays, and its logs.

        The new log is begun first: what is written later must not be in a log that the segment says it holds.
        """
        now = time.monotonic()
        if self._full is not None and now < self._again:
            return False
        self._again = now + FULL_DELAY_SECONDS
        try:
            if self._log.size > self._log_empty:
                self._begin_log(self._number + 1)
            if self._head.count:
                seal(self._head, segment_path(self._folder / RAW, self._first, self._number - 1, 0))
        except OSError as fault:
            self._full = f"the segment cannot be written: {fault}"
            log.warning("samples.not_sealed reason=%r", str(fault))
            return False
        for number in range(self._first, self._number):
            log_path(self._folder, number).unlink(missing_ok=True)
        self._first = self._number
        head = Head()
        head.metrics = self._head.metrics
        self._head = head
        self._began = now
        self._full = None
        self._to_tidy.set()
        return True

    def _begin_log(self, number: int) -> None:
        """Raises OSError, and has changed nothing then."""
        new = LogWriter(log_path(self._folder, number))
        try:
            self._name_metrics(new)
            self._log.sync()
        except OSError:
            new.close()
            new.path.unlink()
            raise
        self._log.close()
        self._log = new
        self._number = number
        self._numbered = Numbered()

    def _name_metrics(self, new: LogWriter) -> None:
        if self._head.metrics:
            new.append(Frame(metrics=list(self._head.metrics.values())))
        self._log_empty = new.size

    def _recover(self) -> int:
        """Take up what was accepted and is in no segment. The number of the first log that is in the head."""
        self._keeper.clean()
        found = listing(self._folder)
        for span in found.raw[-CATALOGUE_SEGMENTS:]:
            try:
                self._head.metrics.update(Segment(span.path).metrics)
            except Damaged as fault:
                log.warning("samples.damaged file=%s reason=%r", span.path, str(fault))
        for one in found.logs:
            reader, names = LogReader(one.path), Names()
            for frame in reader.frames():
                self._head.read(frame, names)
            reader.close()
            if reader.torn:
                log.warning("samples.torn file=%s bytes=%d at its end are no whole frame", one.path.name, reader.torn)
        if found.logs:
            log.info("samples.recovered logs=%d rows=%d", len(found.logs), self._head.count)
            return found.logs[0].number
        return last_number(self._folder) + 1

    def _tidy(self) -> None:
        while not self._stopping.is_set():
            self._to_tidy.wait(TIDY_SECONDS)
            self._to_tidy.clear()
            try:
                with self._tidy_guard:
                    while not self._stopping.is_set() and self._keeper.step():
                        pass
            except OSError as fault:
                log.warning("samples.untidy reason=%r", str(fault))


def _lock(path: Path) -> int:
    number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as fault:
        os.close(number)
        if fault.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise StoreTaken(f"another process writes the sample store {path.parent}") from None
        raise
    return number
