"""The gatherer: a gate for the nodes, a journal, and a feeder for each output, until it is told to stop."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from jobmeter.deliver.feeder import Feeder, Pace
from jobmeter.deliver.intake import Intake, Origin
from jobmeter.deliver.journal import Journal
from jobmeter.deliver.log import Log
from jobmeter.deliver.memory_log import MemoryLog
from jobmeter.deliver.streams import Streams
from jobmeter.run.gatherer.outputs import Output
from jobmeter.settings.gather import GatherSettings
from jobmeter.transport.curve import read_keys, read_public_keys
from jobmeter.transport.gate import Gate, GateSettings

_HOUSEKEEPING_SECONDS = 5.0
_END_SECONDS = 30.0
_LAST_WRITE_SECONDS = 600.0
"""How long an output may write what it has at the end: thousands of tables on a busy machine take a minute."""

log = logging.getLogger("jobmeter.run")


class Gatherer:
    """Takes what nodes send from `start` to `stop`, and gives it to the outputs.

    Raises CannotListen, KeysUnusable, and SpoolFault when the journal cannot be used; the outputs are then not closed.
    """

    def __init__(self, settings: GatherSettings, outputs: Sequence[Output]) -> None:
        folder = Path(settings.journal.folder) if settings.journal.folder else None
        self._settings = settings
        self._stop = threading.Event()
        self._gate_stop = threading.Event()
        self.log: Log = (
            MemoryLog(settings.journal.memory_max_bytes)
            if folder is None
            else Journal(folder, settings.journal.max_bytes)
        )
        start = self.log.next_number
        streams = Streams(None if folder is None else folder / "streams")
        self.intake = Intake(self.log, streams, Origin(settings.colmet.manager, settings.colmet.cluster))
        try:
            self.gate = Gate(gate_settings(settings), self.intake.take, self.log.sync)
        except BaseException:
            self.log.close()
            raise
        self.feeders = [self._feeder(output, folder, start) for output in outputs]
        self._threads: list[threading.Thread] = []
        self._saved = time.monotonic()

    def start(self) -> None:
        """Begin to take and to feed."""
        self._begin("gate", lambda: self.gate.run(self._gate_stop))
        for feeder in self.feeders:
            self._begin(feeder.name, lambda feeder=feeder: feeder.run(self._stop, self._settings.drain_seconds))  # type: ignore[misc]

    def is_whole(self) -> bool:
        """Whether all its threads still run; False before `stop` is a bug that a service manager should see."""
        return all(thread.is_alive() for thread in self._threads)

    def keep_house(self) -> None:
        """Now and then: write down which frames came, and forget what all outputs have."""
        if time.monotonic() - self._saved < _HOUSEKEEPING_SECONDS:
            return
        self._saved = time.monotonic()
        # Looked at before the streams are saved: what comes meanwhile is in neither, and would not be known again.
        done = min((feeder.done for feeder in self.feeders), default=self.log.next_number)
        try:
            self.intake.streams.save()
        except OSError as fault:
            log.warning("gather.streams_not_saved reason=%r", str(fault))
            return
        self.log.forget(done)

    def reopen(self) -> None:
        """Let the outputs begin new files."""
        for feeder in self.feeders:
            feeder.ask_reopen()

    def stop(self) -> list[str]:
        """Take what has arrived, give the outputs their time for it, and close all.

        Gives the names of outputs that hang: a thread of theirs still runs, and may hold a lock of its library.
        """
        self._gate_stop.set()
        self._threads[0].join(_END_SECONDS)
        self._stop.set()
        self.log.wake()
        for thread in self._threads[1:]:
            thread.join(self._settings.drain_seconds + _LAST_WRITE_SECONDS)
        self._saved = 0.0
        self.keep_house()
        self.gate.close()
        self.log.close()
        return [thread.name for thread in self._threads[1:] if thread.is_alive()]

    def _feeder(self, output: Output, folder: Path | None, start: int) -> Feeder:
        return Feeder(
            output.name,
            output.sink,
            self.log,
            self.intake.recent.batch,
            cursor_file=None if folder is None else folder / f"{output.name}.cursor",
            start=start,
            pace=Pace(
                getattr(output.sink, "batch_limit", 1),
                self._settings.flush_seconds,
            ),
        )

    def _begin(self, name: str, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()


def gate_settings(settings: GatherSettings) -> GateSettings:
    """Where and how to listen. Raises KeysUnusable."""
    listen = settings.listen
    curve = listen.curve
    return GateSettings(
        plain=listen.plain or None,
        # Without a journal nothing is durable here, so nothing could be answered for.
        acknowledged=(listen.acknowledged or None) if settings.journal.folder else None,
        high_water_mark=listen.high_water_mark,
        linger_milliseconds=listen.linger_milliseconds,
        burst_messages=listen.burst_messages,
        keys=None if curve is None else read_keys(Path(curve.key_file), with_secret=True),
        allowed=() if curve is None else tuple(read_public_keys(Path(curve.nodes_folder))),
    )
