"""Where a node's batches go."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import IO, Any

import msgspec
from msgspec import structs

from jobmeter.contract import SampleSender
from jobmeter.model.sample import SampleBatch
from jobmeter.settings.agent import NodeSettings
from jobmeter.settings.fault import Fault, SettingsFaulty
from jobmeter.settings.sending import Sending, address_fault

_COLMET = "tcp://127.0.0.1:5556"


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


def open_sender(settings: NodeSettings, arguments: argparse.Namespace, node: str) -> SampleSender:
    """The sender that settings and options ask for. Raises SettingsFaulty, and the faults of keys and spool."""
    if arguments.print:
        return Printer(sys.stdout)
    from jobmeter.run.agent.sender import open_sender as open_real  # noqa: PLC0415 - printing needs no ZeroMQ

    return open_real(adjusted(settings.sending, arguments), node)


def adjusted(sending: Sending, arguments: argparse.Namespace) -> Sending:
    """The settings with what the options say instead; as Colmet, its wire to its port. Raises SettingsFaulty."""
    given: dict[str, Any] = {}
    if arguments.as_colmet and arguments.config is None:
        given = {"wire": "colmet", "acknowledge": False, "gatherers": (_COLMET,)}
    if arguments.zeromq_uri is not None:
        if (fault := address_fault(arguments.zeromq_uri)) is not None:
            raise SettingsFaulty([Fault("command line", "--zeromq-uri", fault)])
        given["gatherers"] = (arguments.zeromq_uri,)
    if arguments.zeromq_hwm is not None:
        given["high_water_mark"] = arguments.zeromq_hwm
    if arguments.zeromq_linger is not None:
        given["linger_milliseconds"] = arguments.zeromq_linger
    return structs.replace(sending, **given)
