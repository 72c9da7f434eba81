"""A gatherer's front part in the test's own process, and batches to send."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from jobmeter.deliver.intake import Intake, Origin
from jobmeter.deliver.log import Log
from jobmeter.deliver.memory_log import MemoryLog
from jobmeter.deliver.streams import Streams
from jobmeter.model.job import JobIdentity
from jobmeter.model.metric import Kind, Metric
from jobmeter.model.sample import Sample, SampleBatch
from jobmeter.transport.gate import Gate, GateSettings
from jobmeter.wire.frame import decode_frame

METRICS = (Metric("cgroup_cpu_usage", "nanoseconds", Kind.COUNTER, "CPU time."),)
JOB = JobIdentity("oar", "", "1000")


def batch(number: int, node: str = "n1") -> SampleBatch:
    """A batch with one sample, whose value is the number."""
    sample = Sample("cgroup", node, JOB, number * 1_000_000_000, ("cgroup_cpu_usage",), (number,))
    return SampleBatch(node, (sample,), METRICS)


class Gathering:
    """A gate and an intake on a log, served by a thread."""

    def __init__(self, settings: GateSettings, log: Log) -> None:
        self.log = log
        self.intake = Intake(log, Streams(), Origin())
        self.gate = Gate(settings, self.intake.take, log.sync)
        self.plain, self.acknowledged = self.gate.addresses
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self.gate.run, args=(self._stop,))

    def values(self) -> list[object]:
        """The values of all samples in the log, in their order."""
        reader = self.log.reader(1)
        found: list[object] = []
        while (taken := reader.take(10**6)).entries:
            for entry in taken.entries:
                found += [value for sample in decode_frame(entry.body)[1].samples for value in sample.values]
        return found

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        self.gate.close()


ANYWHERE = GateSettings("tcp://127.0.0.1:*", "tcp://127.0.0.1:*")


@contextmanager
def gathering(settings: GateSettings = ANYWHERE, log: Log | None = None) -> Iterator[Gathering]:
    made = Gathering(settings, log or MemoryLog(2**30))
    made.start()
    try:
        yield made
    finally:
        made.stop()
