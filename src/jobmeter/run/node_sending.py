"""Where a node's batches go."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import IO

import msgspec

from jobmeter.contract import SampleSender
from jobmeter.model.sample import SampleBatch
from jobmeter.settings.agent import NodeSettings


class Printer:
    """Prints every sample as a line of JSON, for a person who looks at what is measured."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._lines = 0

    def offer(self, batch: SampleBatch) -> None:
        """Print the batch."""
        for sample in batch.samples:
            values = dict(zip(sample.metrics, sample.values, strict=True))
            place = {"instance": sample.instance} if sample.instance else {}
            head = {"time_ns": sample.time_ns, "source": sample.source, "job": sample.job}
            self._line({**head, **place, "values": values})
        for end in batch.ends:
            self._line({"time_ns": end.time_ns, "ended": end.job})
        self._stream.flush()

    def counts(self) -> Mapping[str, int]:
        """How many lines were printed."""
        return {"lines_printed": self._lines}

    def close(self, linger_seconds: float) -> None:
        """Nothing waits."""

    def _line(self, value: object) -> None:
        self._stream.write(msgspec.json.encode(value).decode() + "\n")
        self._lines += 1


def open_sender(settings: NodeSettings, arguments: argparse.Namespace) -> SampleSender:  # noqa: ARG001
    """The sender that settings and options ask for."""
    return Printer(sys.stdout)
