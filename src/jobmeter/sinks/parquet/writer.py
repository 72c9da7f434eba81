"""The Parquet output itself: rows are gathered in memory, and all become files at once."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct

from jobmeter.model.metric import Metric
from jobmeter.model.outcome import Accepted, Keep, Outcome, Rejected
from jobmeter.model.sample import Sample, SampleBatch
from jobmeter.sinks.parquet.file import clear_unfinished, write_file
from jobmeter.sinks.parquet.held import Held, are_columns

_KINDS_MAX = 200
_METRICS_MAX = 10_000

log = logging.getLogger("jobmeter.sinks")


class Limits(Struct, frozen=True):
    """When files are closed."""

    file_seconds: float
    file_max_bytes: int


class ParquetWriter:
    """A sample sink (see `jobmeter.contract.SampleSink`) that writes Parquet files.

    Rows are durable once their file is whole. So `flush` makes files, and `flush_seconds` says when that is wished for:
    after `file_seconds`, or at once when much is held.
    """

    batch_limit = 2000

    def __init__(self, folder: Path, limits: Limits, compression: str, clock: Callable[[], float] = time.time) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        clear_unfinished(folder)
        self._folder = folder
        self._limits = limits
        self._compression = compression
        self._clock = clock
        self._held: dict[tuple[str, tuple[str, ...]], Held] = {}
        self._held_bytes = 0
        self._metrics: dict[str, Metric] = {}

    @property
    def flush_seconds(self) -> float:
        """How long after the last `flush` the next one is wished for."""
        return 0.0 if self._is_much() else self._limits.file_seconds

    def write(self, batch: SampleBatch) -> Sequence[Outcome]:
        """Take the batch. When twice as much is held as a file may have, and cannot be written, all of it is kept."""
        if self._held_bytes > 2 * self._limits.file_max_bytes or len(self._held) > _KINDS_MAX:
            try:
                self.flush()
            except OSError as fault:
                return [Keep(1.0, str(fault))] * len(batch.samples)
        if len(self._metrics) > _METRICS_MAX:
            self._metrics.clear()
        self._metrics.update((metric.name, metric) for metric in batch.metrics)
        return [self._taken(sample) for sample in batch.samples]

    def flush(self) -> None:
        """Make files of all that is held. Raises OSError; what was not written is still held."""
        for key, held in list(self._held.items()):
            metrics = [self._metrics[name] for name in held.metrics if name in self._metrics]
            file = write_file(self._folder, held, metrics, self._compression, int(self._clock()))
            log.info("parquet.closed file=%s", file)
            del self._held[key]
        self._held_bytes = 0

    def reopen(self) -> None:
        """Close the files, so that they can be taken away."""
        self.flush()

    def close(self) -> None:
        """Make files of what is held."""
        self.flush()

    def _taken(self, sample: Sample) -> Outcome:
        key = (sample.source, sample.metrics)
        held = self._held.get(key)
        if held is None:
            if not are_columns(sample.metrics):
                return Rejected(f"the metrics of a sample of {sample.source!r} cannot be the columns of a table")
            held = Held(sample.source, sample.metrics)
        try:
            self._held_bytes += held.add(sample)
        except OverflowError as fault:
            return Rejected(f"a sample of {sample.source!r}: {fault}")
        self._held[key] = held
        return Accepted()

    def _is_much(self) -> bool:
        return self._held_bytes > self._limits.file_max_bytes or len(self._held) > _KINDS_MAX
