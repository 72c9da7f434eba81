"""What the agent says of itself: its own cost, the cost and the faults of each source, what was sent and lost."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from typing import Protocol

from jobmeter.model.metric import Kind, Metric
from jobmeter.model.sample import Sample
from jobmeter.observe.kept import kept

METRICS = (
    Metric("agent_cpu", "nanoseconds", Kind.COUNTER, "Processor time of the agent, all threads."),
    Metric("agent_resident", "bytes", Kind.GAUGE, "Resident memory of the agent."),
    Metric(
        "agent_stretch", "count", Kind.GAUGE, "By what the periods are lengthened to keep to the ceiling; 1 is not."
    ),
    Metric("agent_source_reads", "count", Kind.COUNTER, "How often a source was read."),
    Metric("agent_source_faults", "count", Kind.COUNTER, "How often it could not be read."),
    Metric("agent_source_spent", "nanoseconds", Kind.COUNTER, "Processor time of the reading thread in this source."),
    Metric("agent_sending", "count", Kind.GAUGE, "What the sender counts: sent, waiting, dropped."),
)
"""The catalogue entries of the agent itself."""

_PAGE_BYTES = os.sysconf("SC_PAGESIZE")
_OWN = ("agent_cpu", "agent_resident", "agent_stretch")
_SOURCE = ("agent_source_reads", "agent_source_faults", "agent_source_spent")
_SENDING = ("agent_sending",)


class Measured(Protocol):
    """What is asked of a source's schedule."""

    name: str
    reads: int
    faults: int
    spent_ns: int


class SelfMeasure:
    """Makes the samples of the agent itself."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._memory = kept("/proc/self/statm")

    def samples(
        self, now_ns: int, sources: Iterable[Measured], sending: Mapping[str, int], stretch: int
    ) -> list[Sample]:
        """The node's samples of the source `agent`; an instance is a source's name, or what the sender counts."""
        own = (time.process_time_ns(), self.resident_bytes(), stretch)
        found = [Sample("agent", self._node, None, now_ns, _OWN, own)]
        for each in sources:
            values = (each.reads, each.faults, each.spent_ns)
            found.append(Sample("agent", self._node, None, now_ns, _SOURCE, values, each.name))
        for name, count in sending.items():
            found.append(Sample("agent", self._node, None, now_ns, _SENDING, (count,), name))
        return found

    def resident_bytes(self) -> int | None:
        """Resident memory, None where the kernel does not say."""
        if self._memory is None:
            return None
        return int(self._memory.read().split()[1]) * _PAGE_BYTES
