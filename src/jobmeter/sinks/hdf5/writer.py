"""The HDF5 output itself: rows are gathered in memory and written many at once."""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import h5py

from jobmeter.model.outcome import Accepted, Keep, Outcome, Rejected
from jobmeter.model.sample import Sample, SampleBatch
from jobmeter.sinks.hdf5.file import File, Unfinished
from jobmeter.sinks.hdf5.held import TABLE_BYTES, Held, Texts
from jobmeter.sinks.hdf5.layout import Row, packing_of_source, row_of_record, row_of_sample
from jobmeter.sinks.hdf5.packing import Packing
from jobmeter.sinks.hdf5.tables import Compression
from jobmeter.wire.colmet_samples import ColmetForm

_SUFFIX = ".hdf5"
_HELD_MAX_BYTES = 40 * 2**20
_PACKINGS_MAX = 1000
_SPARED = 10
_WRITE_SECONDS_MAX = 60.0
_FILTERS = {"zlib": 1, "lzf": 32000, "blosc": 32001, "bzip2": 307, "lzo": 305}
_BUILT_IN = frozenset({"zlib", "lzf"})

log = logging.getLogger("jobmeter.sinks")


_Key = tuple[str, str, int]
"""Group, table, and which layout, as one source may send several."""


class Hdf5Writer:
    """A sample sink (see `jobmeter.contract.SampleSink`) that writes HDF5 files."""

    batch_limit = 2000

    def __init__(
        self,
        path: str,
        compression: Compression,
        write_seconds: float,
        *,
        held_max_bytes: int = _HELD_MAX_BYTES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.flush_seconds = self._write_seconds = write_seconds
        self._path = Path(path)
        self._held_max_bytes = held_max_bytes
        self._clock = clock
        self._file = File(self._named(), compression)
        self._compression = compression
        self._form = ColmetForm()
        self._packings: dict[tuple[tuple[str, ...], bool], Packing] = {}
        self._held: dict[_Key, Held] = {}
        self._texts = Texts()
        self._tables_bytes = 0

    @property
    def path(self) -> Path:
        """The present file."""
        return self._file.path

    def write(self, batch: SampleBatch) -> Sequence[Outcome]:
        """Take the batch; `flush` writes it. When much is held and cannot be written, all of it is kept."""
        if self._tables_bytes + self._texts.size_bytes > self._held_max_bytes:
            try:
                self.flush()
            except OSError as fault:
                return [Keep(1.0, str(fault))] * len(batch.samples)
        outcomes: list[Outcome] = [Accepted()] * len(batch.samples)
        converted = self._form.converted(batch)
        for made in converted.made:
            self._hold(row_of_record(made.record))
        for place in converted.rest:
            sample = batch.samples[place]
            try:
                self._hold(row_of_sample(sample, self._packing(sample)))
            except ValueError as fault:
                outcomes[place] = Rejected(f"a sample of {sample.source!r}: {fault}")
        return outcomes

    def flush(self) -> None:
        """Write all that is held, durable on return. Raises OSError; what was not written is still held."""
        if not self._held:
            return
        began = time.monotonic()
        # Two layouts of one table are written one after the other.
        first = {key[:2]: key for key in reversed(self._held)}
        try:
            self._file.append({place: self._held[key] for place, key in first.items()})
        except Unfinished as fault:
            self._forget([first[place] for place in fault.done])
            raise
        self._forget(list(first.values()))
        # The more tables there are, the fewer rows does each get at once: then rows are held for longer.
        spent = time.monotonic() - began
        self.flush_seconds = max(self._write_seconds, min(spent * _SPARED, _WRITE_SECONDS_MAX))
        if self._held:
            self.flush()

    def reopen(self) -> None:
        """Begin a new file, where the path is the beginning of a name."""
        try:
            self.flush()
        except OSError as fault:
            log.warning("hdf5.not_flushed file=%s reason=%r its rows go to the next file", self.path, str(fault))
        self._file = File(self._named(), self._compression)
        log.info("hdf5.begun file=%s", self.path)

    def close(self) -> None:
        """Write what is held."""
        self.flush()

    def _hold(self, row: Row) -> None:
        key = (row.group, row.table, id(row.packing.layout))
        held = self._held.get(key)
        if held is None:
            held = self._held[key] = Held(row.packing, self._texts)
            self._tables_bytes += TABLE_BYTES
        held.add(row.values)
        self._tables_bytes += row.packing.packed_bytes

    def _forget(self, keys: Sequence[_Key]) -> None:
        for key in keys:
            self._tables_bytes -= self._held.pop(key).size_bytes
        if not self._held:
            self._texts = Texts()

    def _packing(self, sample: Sample) -> Packing:
        """How such samples become rows. Raises ValueError where they cannot."""
        key = (sample.metrics, bool(sample.involved))
        found = self._packings.get(key)
        if found is None:
            if len(self._packings) >= _PACKINGS_MAX:
                self._packings.clear()
            found = self._packings[key] = packing_of_source(sample.metrics, with_involved=bool(sample.involved))
        return found

    def _named(self) -> Path:
        if self._path.name.endswith(_SUFFIX):
            return self._path
        stamp = int(self._clock())
        while (found := self._path.with_name(f"{self._path.name}.{stamp}{_SUFFIX}")).exists():
            stamp += 1
        return found


def compression(name: str, level: int) -> Compression:
    """The filter for a name of Colmet's, `none`, or `lzf`. Raises ValueError when this installation has it not."""
    if level == 0 or name == "none":
        return Compression()
    number = _FILTERS[name]
    if name not in _BUILT_IN and not h5py.h5z.filter_avail(number):
        with suppress(ModuleNotFoundError):
            importlib.import_module("hdf5plugin")
        if not h5py.h5z.filter_avail(number):
            raise ValueError(
                f"compression {name} is not there: install the Python package hdf5plugin for blosc and bzip2, "
                "or take zlib or lzf"
            )
    return Compression(number, {"zlib": (level,), "blosc": (0, 0, 0, 0, level, 1, 0), "bzip2": (level,)}.get(name, ()))
