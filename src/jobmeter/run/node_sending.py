"""Where a node's batches go."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import msgspec
from msgspec import structs

from jobmeter.contract import SampleSender
from jobmeter.model.sample import SampleBatch
from jobmeter.observe.host import this_host
from jobmeter.settings.agent import NodeSettings
from jobmeter.settings.fault import Fault, SettingsFaulty
from jobmeter.settings.sending import Sending, address_fault
from jobmeter.transport.backlog import Bounds
from jobmeter.transport.curve import read_keys
from jobmeter.transport.sender import Sender, SenderSettings

_COLMET_GATHERER = "tcp://127.0.0.1:5556"


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


def open_sender(settings: NodeSettings, arguments: argparse.Namespace) -> SampleSender:
    """The sender that settings and options ask for. Raises SettingsFaulty, KeysUnusable and SpoolUnavailable."""
    if arguments.print:
        return Printer(sys.stdout)
    return sender_of(adjusted(settings.sending, arguments), settings.node_name or this_host().name)


def adjusted(sending: Sending, arguments: argparse.Namespace) -> Sending:
    """The settings with what the options say instead. Raises SettingsFaulty."""
    given: dict[str, Any] = {}
    if arguments.as_colmet and arguments.config is None:
        given.update(wire="colmet", gatherers=(_COLMET_GATHERER,))
    if arguments.wire is not None:
        given["wire"] = arguments.wire
    if arguments.zeromq_uri is not None:
        if (fault := address_fault(arguments.zeromq_uri)) is not None:
            raise SettingsFaulty([Fault("command line", "--zeromq-uri", fault)])
        given["gatherers"] = (arguments.zeromq_uri,)
    if arguments.zeromq_hwm is not None:
        given["high_water_mark"] = max(0, arguments.zeromq_hwm)
    if arguments.zeromq_linger is not None:
        given["linger_milliseconds"] = max(-1, arguments.zeromq_linger)
    return structs.replace(sending, **given)


def sender_of(sending: Sending, node: str) -> Sender:
    """The sender of a node of that name, started. Raises KeysUnusable and SpoolUnavailable."""
    curve = sending.curve
    return Sender(
        SenderSettings(
            gatherers=sending.gatherers,
            wire=sending.wire,
            acknowledge=sending.acknowledge,
            high_water_mark=sending.high_water_mark,
            linger_milliseconds=sending.linger_milliseconds,
            answer_seconds=sending.answer_seconds,
            spool_folder=None if sending.spool is None else Path(sending.spool),
            bounds=Bounds(sending.memory_max_bytes, sending.memory_seconds, sending.spool_max_bytes),
            keys=None if curve is None else read_keys(Path(curve.key_file), with_secret=True),
            gatherer_key=None if curve is None else read_keys(Path(curve.gatherer_file), with_secret=False),
        ),
        node,
    )
