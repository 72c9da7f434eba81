"""A folder of samples as the sample store of a process: read at once, written when the first sample comes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

from jobmeter.contract import Clock, SampleSink, StoreUnavailable
from jobmeter.model.series import SampleQuestion, SampleStoreState, SampleTable
from jobmeter.settings.samples import SampleBounds
from jobmeter.store.samples.fault import StoreTaken
from jobmeter.store.samples.reader import SampleStoreReader
from jobmeter.store.samples.tail import SampleTail
from jobmeter.store.samples.writer import SampleStoreWriter


class SampleFolder:
    """A sample store (see `jobmeter.keeping.SampleStore`). Several may live in one process."""

    def __init__(self, folder: Path, bounds: SampleBounds, clock: Clock) -> None:
        """Raises OSError when the folder cannot be made."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._bounds = bounds
        self._clock = clock
        self._reader = SampleStoreReader(folder)
        self._guard = threading.Lock()
        self._writer: SampleStoreWriter | None = None

    def tables(self, question: SampleQuestion) -> Iterator[SampleTable]:
        """See the contract."""
        return self._reader.tables(question)

    def state(self) -> SampleStoreState:
        """See the contract."""
        try:
            return self._reader.state()
        except OSError as fault:
            raise StoreUnavailable(f"the sample store cannot be read: {fault}") from None

    def tail(self) -> SampleTail:
        """See the contract."""
        return SampleTail(self._folder)

    def sink(self) -> SampleSink:
        """See the contract."""
        with self._guard:
            if self._writer is None:
                try:
                    self._writer = SampleStoreWriter(self._folder, self._bounds, self._clock)
                except (StoreTaken, OSError) as fault:
                    raise StoreUnavailable(f"the sample store cannot be written: {fault}") from None
            return self._writer

    def close(self) -> None:
        """See the contract."""
        with self._guard:
            if self._writer is not None:
                self._writer.close()
        self._reader.close()
