"""The traffic of the node's network interfaces. Facts: proc(5) on /proc/net/dev."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Annotated

from msgspec import Meta, Struct

from jobmeter.contract import SampleSource
from jobmeter.model.metric import Kind, Metric
from jobmeter.observe.devices import DeviceCounters
from jobmeter.observe.host import Host
from jobmeter.settings.pattern import pattern

_FIELDS = ("rx_bytes", "rx_packets", "rx_errors", "rx_dropped", "tx_bytes", "tx_packets", "tx_errors", "tx_dropped")
_PLACES = (0, 1, 2, 3, 8, 9, 10, 11)

METRICS = tuple(
    Metric(
        f"network_{field}",
        "bytes" if field.endswith("bytes") else "count",
        Kind.COUNTER,
        f"{field.partition('_')[2].capitalize()} {'received' if field.startswith('rx') else 'sent'} by an interface.",
    )
    for field in _FIELDS
)


class Settings(Struct, frozen=True):
    """Which interfaces are read."""

    skip: Annotated[str, Meta(description="A regular expression for the names of interfaces to leave out.")] = (
        r"lo|veth.*|cali.*|docker\d+|br-.*|virbr.*|cni\d+|flannel.*|tun.*|tap.*"
    )

    def __post_init__(self) -> None:
        pattern("skip", self.skip)


def parse(skip: re.Pattern[str], text: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The interfaces with their counters."""
    for line in text.splitlines()[2:]:
        name, _, rest = line.partition(":")
        name = name.strip()
        if name and not skip.fullmatch(name):
            words = rest.split()
            yield name, tuple(int(words[place]) for place in _PLACES)


def open_source(settings: Settings, host: Host) -> SampleSource:
    """The interfaces of this host. Raises SourceAbsent where the kernel counts none."""
    skip = pattern("skip", settings.skip)
    return DeviceCounters("network", host, "/proc/net/dev", METRICS, partial(parse, skip))
