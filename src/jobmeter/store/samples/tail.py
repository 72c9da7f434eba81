"""The live tail: what is appended to a sample store, as it comes, in any process."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from jobmeter.model.metric import Metric
from jobmeter.model.sample import Sample
from jobmeter.store.samples.folder import listing
from jobmeter.store.samples.head import Names
from jobmeter.store.samples.log import Frame, LogReader

log = logging.getLogger("jobmeter.store")


class SampleTail:
    """Gives what was appended since it was made. One thread at a time.

    A log stays open when it is sealed and removed, so that nothing of it is missed. A log that was begun and removed
    between two readings is counted in `missed`; its samples are in the store.
    """

    def __init__(self, folder: Path) -> None:
        self.metrics: dict[str, Metric] = {}
        self.missed = 0
        self._folder = folder
        self._open: dict[int, tuple[LogReader, Names]] = {}
        self._last = 0
        for _ in self.read():
            pass

    def read(self) -> Iterator[Sample]:
        """The samples that came since the last reading."""
        for number in sorted(self._open):
            yield from self._samples(number)
        current = {one.number: one.path for one in listing(self._folder).logs} if self._folder.is_dir() else {}
        for number in [one for one in self._open if one not in current]:
            yield from self._samples(number)
            self._open.pop(number)[0].close()
        for number in sorted(current):
            if number <= self._last:
                continue
            try:
                self._open[number] = (LogReader(current[number]), Names())
            except FileNotFoundError:
                continue
            if self._last:
                self.missed += number - self._last - 1
            self._last = number
            yield from self._samples(number)

    def close(self) -> None:
        """Release the logs."""
        for reader, _ in self._open.values():
            reader.close()
        self._open.clear()

    def _samples(self, number: int) -> Iterator[Sample]:
        reader, names = self._open[number]
        for frame in reader.frames():
            yield from self._in(frame, names)

    def _in(self, frame: Frame, names: Names) -> Iterator[Sample]:
        names.series.extend(frame.series)
        names.involved.extend(frame.involved)
        self.metrics.update((metric.name, metric) for metric in frame.metrics)
        for number, time_ns, since_ns, involved, values in frame.rows:
            one = names.series[number]
            yield Sample(
                one.source,
                one.node,
                one.job,
                time_ns,
                one.metrics,
                values,
                one.instance,
                since_ns,
                names.involved[involved],
            )
