"""What the agent says of itself, as a file in Prometheus' text format."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

from jobmeter.observe.agent import Agent
from jobmeter.settings.deployment import Metrics

EVERY_SECONDS = 15.0

log = logging.getLogger("jobmeter.run")


class MetricsFile:
    """Writes the file anew every 15 s; without a file it does nothing."""

    def __init__(self, settings: Metrics) -> None:
        self._file = None if settings.file is None else Path(settings.file)
        self._written = -EVERY_SECONDS
        self._failing = False

    def write(self, agent: Agent) -> None:
        """Write the file, if it is time. A file that cannot be written is said once."""
        if self._file is None or time.monotonic() - self._written < EVERY_SECONDS:
            return
        self._written = time.monotonic()
        fresh = self._file.with_name(f".{self._file.name}.{os.getpid()}")
        try:
            fresh.write_text(text(agent), encoding="utf-8")
            fresh.chmod(0o644)
            fresh.replace(self._file)
            self._failing = False
        except OSError as fault:
            if not self._failing:
                log.warning("metrics.not_written file=%s reason=%r", self._file, str(fault))
            self._failing = True


def text(agent: Agent) -> str:
    """The metrics now."""
    return "\n".join(_lines(agent)) + "\n"


def _lines(agent: Agent) -> Iterator[str]:
    yield from _head("process_cpu_seconds_total", "counter", "CPU seconds used.")
    yield f"process_cpu_seconds_total {time.process_time():.3f}"
    yield from _head("process_resident_memory_bytes", "gauge", "Resident memory in bytes.")
    yield f"process_resident_memory_bytes {agent.self_measure.resident_bytes() or 0}"
    yield from _head("jobmeter_node_jobs", "gauge", "Jobs on the node now.")
    yield f"jobmeter_node_jobs {len(agent.finder.jobs)}"
    yield from _head("jobmeter_node_period_stretch", "gauge", "By what periods are lengthened to keep to the ceiling.")
    yield f"jobmeter_node_period_stretch {agent.ceiling.stretch}"
    yield from _head("jobmeter_node_source_reads_total", "counter", "Readings of a source.")
    for each in agent.sources:
        yield f'jobmeter_node_source_reads_total{{source="{each.name}"}} {each.reads}'
    yield from _head("jobmeter_node_source_faults_total", "counter", "Readings of a source that failed.")
    for each in agent.sources:
        yield f'jobmeter_node_source_faults_total{{source="{each.name}"}} {each.faults}'
    yield from _head("jobmeter_node_source_seconds_total", "counter", "Processor time of a source.")
    for each in agent.sources:
        yield f'jobmeter_node_source_seconds_total{{source="{each.name}"}} {each.spent_ns / 1e9:.3f}'
    yield from _head("jobmeter_node_sending", "gauge", "What the sender counts: sent, waiting, dropped.")
    for name, count in agent.sender.counts().items():
        yield f'jobmeter_node_sending{{what="{name}"}} {count}'


def _head(name: str, kind: str, meaning: str) -> Iterator[str]:
    yield f"# HELP {name} {meaning}"
    yield f"# TYPE {name} {kind}"
