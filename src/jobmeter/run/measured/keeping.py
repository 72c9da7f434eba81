"""Where a run's samples, summary and record go: into spools that are delivered to a server, or into a folder.

Nothing here may hold up or fail the command that is measured: what cannot be stored is said at the end, and counted.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import msgspec

import jobmeter
from jobmeter.contract import JobBatch, SampleSink, StoreUnavailable
from jobmeter.deliver.fault import SpoolFault
from jobmeter.deliver.settings import SpoolSettings
from jobmeter.deliver.spool import Spool
from jobmeter.model.metric import Metric
from jobmeter.model.outcome import Accepted
from jobmeter.model.record import Record
from jobmeter.model.sample import JobEnd, Sample, SampleBatch
from jobmeter.model.summary import JobSummary
from jobmeter.observe.host import SystemClock
from jobmeter.wire.auditor import encode_record
from jobmeter.wire.measured import FORMAT, samples_item, summary_item

FLUSH_NS = 10_000_000_000
_SOURCE = "jobmeter-run"
_SETTINGS = SpoolSettings(
    max_bytes=256 * 2**20, when_full="drop_oldest", max_age_days=90, letters_max=1000, busy_seconds=5
)


def state_folder(environment: Mapping[str, str], *, is_root: bool) -> Path:
    """Where the spools lie: of root in /var/lib, of others in the folder that the XDG base directories name."""
    if is_root:
        return Path("/var/lib/jobmeter/run")
    home = environment.get("XDG_STATE_HOME") or os.path.join(environment.get("HOME") or "/tmp", ".local/state")  # noqa: PTH118, S108
    return Path(home, "jobmeter", "run")


def spools_of(folder: Path, server: str) -> tuple[Path, Path]:
    """The files of the records and of the measurements that wait for one server."""
    mark = hashlib.blake2b(server.encode(), digest_size=6).hexdigest()
    return folder / f"records-{mark}.spool", folder / f"measured-{mark}.spool"


def opened(file: Path) -> Spool:
    """A spool of runs; its folder is made. Raises OSError and the faults of the spool."""
    file.parent.mkdir(parents=True, exist_ok=True)
    return Spool(file, _SETTINGS, SystemClock())


class Gathered:
    """Puts batches together, so that what is written at once is not too little."""

    def __init__(self, write: Callable[[SampleBatch], None]) -> None:
        self._write = write
        self._samples: list[Sample] = []
        self._metrics: dict[str, Metric] = {}
        self._ends: list[JobEnd] = []
        self._node = ""
        self._since_ns: int | None = None

    def take(self, batch: SampleBatch) -> None:
        """One more batch; now and then all are written."""
        self._node = batch.node
        self._samples += batch.samples
        self._ends += batch.ends
        self._metrics.update({metric.name: metric for metric in batch.metrics})
        now_ns = batch.samples[-1].time_ns if batch.samples else 0
        if self._since_ns is None:
            self._since_ns = now_ns
        elif now_ns - self._since_ns >= FLUSH_NS:
            self.flush()

    def flush(self) -> None:
        """Write what there is."""
        if (rest := self.rest()) is not None:
            self._write(rest)

    def rest(self) -> SampleBatch | None:
        """What there is, handed out to be written by whoever asks."""
        samples, ends = tuple(self._samples), tuple(self._ends)
        self._samples, self._ends, self._since_ns = [], [], None
        return SampleBatch(self._node, samples, tuple(self._metrics.values()), ends) if samples or ends else None


class ToServer:
    """Spools for a server; a process of its own delivers them."""

    def __init__(self, folder: Path, server: str, options: list[str]) -> None:
        self.faults: list[str] = []
        self.apart: set[int] = set()
        self._server = server
        self._options = ["--server", server, *options]
        self._records, self._measured = spools_of(folder, server)
        self._gathered = Gathered(self._write)
        self._opened: Spool | None = None

    def take(self, batch: SampleBatch) -> None:
        """See Taker."""
        self._gathered.take(batch)

    def finish(self, record: Record, summary: JobSummary | None) -> None:
        """Store all of it durably, then let it be delivered."""
        rest = self._gathered.rest()
        last = [] if rest is None else [samples_item(rest)]
        last += [] if summary is None else [summary_item(summary)]
        try:
            if last:
                self._spool().enqueue(_SOURCE, FORMAT, last)
            with opened(self._records) as spool:
                spool.absorb(_SOURCE, JobBatch((record,), (), "", 1, {}))
        except (SpoolFault, OSError) as fault:
            self.faults.append(str(fault))
        if self._opened is not None:
            self._opened.close()
        self._deliver()

    def place(self, record_id: str) -> str:
        """Where a person finds the job, once the server has it."""
        return f"page        {self._server.rstrip('/')}/job/{quote(record_id, safe='')}"

    def _spool(self) -> Spool:
        if self._opened is None:
            self._opened = opened(self._measured)
        return self._opened

    def _write(self, batch: SampleBatch) -> None:
        try:
            self._spool().enqueue(_SOURCE, FORMAT, [samples_item(batch)])
        except (SpoolFault, OSError) as fault:
            if not self.faults:
                self.faults.append(str(fault))
            return
        self._deliver()

    def _deliver(self) -> None:
        """Start a process that delivers and ends by itself; nobody waits for it."""
        path = os.path.dirname(os.path.dirname(jobmeter.__file__))  # noqa: PTH120
        environment = {**os.environ, "PYTHONPATH": path}
        words = ["run", "--deliver", str(self._records.parent), *self._options]
        argv = [sys.executable, "-m", "jobmeter", *words]
        streams = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in (0, 1, 2)]
        with suppress(OSError):
            self.apart.add(
                os.posix_spawn(sys.executable, argv, environment, file_actions=streams, setsid=True, setsigmask=[])
            )


class InFolder:
    """A folder of this machine: a sample store in it, and records and summaries as JSON lines."""

    def __init__(self, folder: Path) -> None:
        self.faults: list[str] = []
        self.apart: set[int] = set()
        self._folder = folder
        self._gathered = Gathered(self._write)
        self._sink: SampleSink | None = None

    def take(self, batch: SampleBatch) -> None:
        """See Taker."""
        self._gathered.take(batch)

    def finish(self, record: Record, summary: JobSummary | None) -> None:
        """Store all of it durably."""
        self._gathered.flush()
        if self._sink is not None:
            self._sink.close()
        try:
            if summary is not None:
                self._append("summaries.jsonl", msgspec.json.encode(summary))
            self._append("records.jsonl", encode_record(record))
        except OSError as fault:
            self.faults.append(str(fault))

    def place(self, record_id: str) -> str:
        """Where a person finds the job."""
        return f"stored in   {self._folder} as {record_id}"

    def _write(self, batch: SampleBatch) -> None:
        try:
            if self._sink is None:
                self._sink = self._opened()
            if self._sink is not None and all(isinstance(each, Accepted) for each in self._sink.write(batch)):
                self._sink.flush()
                return
            self._append("samples.jsonl", msgspec.json.encode(batch))
        except OSError as fault:
            if not self.faults:
                self.faults.append(str(fault))

    def _opened(self) -> SampleSink | None:
        """The sample store; None without its libraries, or while somebody else writes it: they are put beside it."""
        try:
            from jobmeter.settings.samples import SampleBounds  # noqa: PLC0415 - with what it is for
            from jobmeter.store.samples.open import SampleFolder  # noqa: PLC0415 - numpy, an extra
        except ImportError:
            return None
        try:
            return SampleFolder(self._folder / "samples", SampleBounds(), SystemClock()).sink()
        except StoreUnavailable:
            return None

    def _append(self, name: str, line: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / name).open("ab", buffering=0) as file:
            file.write(line + b"\n")
            os.fsync(file.fileno())
