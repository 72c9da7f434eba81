"""The gatherer's summaries: samples are summed as they pass, and ended jobs' summaries go through a spool to a server.

Nothing is lost by a crash at any instant. `flush` stores finished summaries in the spool, then what is summed so far,
and only then does the feeder write its place down; what comes again after a crash is known by its time.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from jobmeter.contract import Clock, Sink
from jobmeter.deliver.fault import SpoolFault
from jobmeter.deliver.pump import Pump
from jobmeter.deliver.settings import SpoolSettings
from jobmeter.deliver.spool import Spool
from jobmeter.model.outcome import Accepted, Outcome
from jobmeter.model.sample import SampleBatch
from jobmeter.model.summary import JobSummary
from jobmeter.model.summing import Kept, Summing

SUMMARY_FORMAT = "job-summary/1"
"""The encoding of an entry of the spool: one summary as JSON."""
SPOOL_FILE, KEPT_FILE = "summaries.spool", "summaries.kept"

_SPOOL_NAME = "summaries"
_LOOK_SECONDS = 60.0

_encode = msgspec.json.Encoder().encode
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(Kept).decode

log = logging.getLogger("jobmeter.run")


class SummaryOutput:
    """A sample sink (see `jobmeter.contract.SampleSink`) that sums. Jobs silent for `silent_seconds` are given out."""

    def __init__(
        self, folder: Path, spool: Spool, clock: Clock, *, silent_seconds: float, flush_seconds: float
    ) -> None:
        self.flush_seconds = flush_seconds
        self._file = folder / KEPT_FILE
        self._spool = spool
        self._clock = clock
        self._silent_ns = int(silent_seconds * 1e9)
        self._summing = Summing(kept=_read(self._file))
        self._ready: list[JobSummary] = []
        self._ran_again = 0
        self._looked = time.monotonic()

    @property
    def own_counts(self) -> Mapping[str, int]:
        """What this output counts besides what became of samples."""
        return {"late_samples": self._summing.late, "jobs_ran_again": self._ran_again}

    def write(self, batch: SampleBatch) -> Sequence[Outcome]:
        """See SampleSink."""
        self._ready += self._summing.add(batch)
        return [Accepted()] * len(batch.samples)

    def flush(self) -> None:
        """See SampleSink."""
        if time.monotonic() - self._looked >= _LOOK_SECONDS:
            self._looked = time.monotonic()
            now_ns = int(self._clock.now().timestamp() * 1e9)
            self._ready += self._summing.silent_since(now_ns - self._silent_ns)
        if self._ready:
            try:
                self._spool.enqueue(_SPOOL_NAME, SUMMARY_FORMAT, [_encode(one) for one in self._ready])
            except SpoolFault as fault:
                raise OSError(f"summaries cannot be spooled: {fault}") from None
            log.info("gather.summed jobs=%d", len(self._ready))
            for one in self._ready:
                if one.earlier:
                    self._ran_again += 1
                    log.info(
                        "gather.ran_again job=%s earlier=%d it has a summary of its own", one.job.shown, one.earlier
                    )
            self._ready.clear()
        _replace(self._file, _pack(self._summing.kept()))

    def reopen(self) -> None:
        """See SampleSink."""

    def close(self) -> None:
        """See SampleSink. Jobs that run are gone on with at the next start."""


class Summarizing:
    """Sums, and delivers the summaries from `start` to `stop`; `output` is fed by the gatherer.

    Raises SpoolFault and OSError.
    """

    def __init__(self, folder: Path, sink: Sink, clock: Clock, *, silent_seconds: float, flush_seconds: float) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._sink = sink
        self._spool = Spool(folder / SPOOL_FILE, SpoolSettings(), clock)
        self.output = SummaryOutput(
            folder, self._spool, clock, silent_seconds=silent_seconds, flush_seconds=flush_seconds
        )
        self._stop = threading.Event()
        self._pump = Pump(self._spool, sink, self._stop)
        self._thread = threading.Thread(target=self._pump.run, name="summaries", daemon=True)

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def stop(self, drain_seconds: float) -> None:
        """Deliver what is left for so long, and release. Called after the output was closed."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._stop.clear()
        if not self._pump.drain(drain_seconds):
            log.info("gather.summaries_left reason=%r they are sent after the next start", self._pump.stats.reason)
        self._spool.close()
        close = getattr(self._sink, "close", None)
        if close is not None:
            close()


def _read(file: Path) -> Kept | None:
    try:
        return _unpack(file.read_bytes())
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as fault:
        log.warning("gather.summaries_begin_anew file=%s reason=%r", file, str(fault))
        return None


def _replace(file: Path, content: bytes) -> None:
    fresh = file.with_name(file.name + ".fresh")
    with fresh.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    fresh.replace(file)
