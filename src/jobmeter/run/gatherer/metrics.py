"""What a gatherer says of itself, in Prometheus' text format."""

from __future__ import annotations

import time
from collections.abc import Iterator

from msgspec import structs

from jobmeter.run.exposition import Figure, of_process, rendered
from jobmeter.run.gatherer.gathering import Gatherer

_PREFIX = "jobmeter_gather_"
_INTAKE = {
    "frames": "Frames of our nodes that were taken.",
    "colmet_messages": "Messages of Colmet's nodes that were taken.",
    "samples": "Samples that were taken.",
    "repeated": "Frames that came again, and were known.",
    "unreadable": "Messages that are none of ours or Colmet's, or were broken.",
    "cut": "Messages of Colmet's nodes that end within a record or hold an unknown one.",
    "unknown_version": "Frames of a version that this release does not know.",
    "refused_no_room": "Messages for which the journal had no room.",
    "lost_no_room_samples": "Samples of Colmet's nodes that were lost thereby; ours send again.",
}
_OUTPUT = {
    "accepted": "Samples that the output took.",
    "rejected": "Samples that the output can never take.",
    "retried": "Samples that were offered again.",
    "missed": "Samples that the journal dropped before the output had them.",
}
_OWN = {
    "late_samples": "Samples of jobs whose summary was made before, left out of it.",
    "jobs_ran_again": "Summaries of jobs that ran again under their number.",
}


class GatherMetrics:
    """The metrics of one gatherer."""

    def __init__(self, gatherer: Gatherer) -> None:
        self._gatherer = gatherer
        self._started = time.time()

    def text(self) -> str:
        """All metrics now."""
        return rendered([*self._of_intake(), *self._of_outputs(), *of_process(self._started)])

    def _of_intake(self) -> Iterator[Figure]:
        gatherer = self._gatherer
        counts = structs.asdict(gatherer.intake.counts)
        for name, meaning in _INTAKE.items():
            yield Figure(f"{_PREFIX}{name}_total", "counter", meaning, counts[name])
        streams = gatherer.intake.streams
        yield Figure(f"{_PREFIX}nodes", "gauge", "Nodes that were heard of.", streams.nodes())
        yield Figure(f"{_PREFIX}missing_frames", "gauge", "Frames that never came.", streams.missing_frames())
        yield Figure(
            f"{_PREFIX}node_dropped_samples", "gauge", "Samples that nodes had to give up.", streams.dropped_samples()
        )
        peers = gatherer.gate.counts
        yield Figure(f"{_PREFIX}peers_greeted_total", "counter", "Connections that were made.", peers.greeted)
        yield Figure(
            f"{_PREFIX}peers_refused_total", "counter", "Connections that spoke something else.", peers.refused
        )
        yield Figure(f"{_PREFIX}journal_bytes", "gauge", "Bytes in the journal.", gatherer.log.size_bytes)

    def _of_outputs(self) -> Iterator[Figure]:
        for feeder in self._gatherer.feeders:
            labels = {"output": feeder.name}
            counts = structs.asdict(feeder.stats)
            for name, meaning in _OUTPUT.items():
                yield Figure(f"{_PREFIX}output_{name}_samples_total", "counter", meaning, counts[name], labels)
            own = feeder.own_counts
            for name, meaning in _OWN.items():
                if name in own:
                    yield Figure(f"{_PREFIX}{name}_total", "counter", meaning, own[name])
            yield Figure(
                f"{_PREFIX}output_failures_in_a_row", "gauge", "Vain tries in a row.", feeder.stats.failures, labels
            )
            yield Figure(f"{_PREFIX}output_behind", "gauge", "Messages that wait for it.", feeder.behind, labels)
            yield Figure(
                f"{_PREFIX}output_flushed_timestamp_seconds",
                "gauge",
                "When what it took was last made durable.",
                feeder.stats.flushed_at,
                labels,
            )
