"""The traffic of the node's network interfaces. Facts: proc(5) on /proc/net/dev."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Annotated

from msgspec import Meta, Struct

from jobmeter.contract import Reading, SampleSource, SourceAbsent, SourceUnreadable
from jobmeter.model.job import RunningJob
from jobmeter.model.metric import Kind, Metric
from jobmeter.model.sample import Sample
from jobmeter.observe.host import Host
from jobmeter.observe.kept import kept
from jobmeter.settings.fault import WrongValue

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
_NAMES = tuple(metric.name for metric in METRICS)


class Settings(Struct, frozen=True):
    """Which interfaces are read."""

    skip: Annotated[str, Meta(description="A regular expression for the names of interfaces to leave out.")] = (
        r"lo|veth.*|cali.*|docker\d+|br-.*|virbr.*|cni\d+|flannel.*|tun.*|tap.*"
    )

    def __post_init__(self) -> None:
        try:
            re.compile(self.skip)
        except re.error as fault:
            raise WrongValue("skip", f"is no regular expression: {fault}") from None


class NetworkSource:
    """Reads all interfaces."""

    def __init__(self, settings: Settings, host: Host) -> None:
        self._node = host.name
        self._skip = re.compile(settings.skip)
        self.metrics = METRICS
        file = kept(str(host.path("/proc/net/dev")))
        if file is None:
            raise SourceAbsent("there is no /proc/net/dev")
        self._file = file

    def read(self, now_ns: int, jobs: Sequence[RunningJob], reading: Reading = Reading.ALL) -> Iterator[Sample]:
        """A sample of the node per interface."""
        if reading is not Reading.ALL:
            return
        involved = tuple(job.identity for job in jobs)
        try:
            found = list(parse(self._file.read_all().decode("utf-8", "replace"), self._skip))
        except (OSError, ValueError, IndexError) as fault:
            raise SourceUnreadable(f"/proc/net/dev is not understood: {fault}") from None
        for name, values in found:
            yield Sample("network", self._node, None, now_ns, _NAMES, values, name, involved=involved)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def parse(text: str, skip: re.Pattern[str]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The interfaces with their counters."""
    for line in text.splitlines()[2:]:
        name, _, rest = line.partition(":")
        name = name.strip()
        if name and not skip.fullmatch(name):
            words = rest.split()
            yield name, tuple(int(words[place]) for place in _PLACES)


def open_source(settings: Settings, host: Host) -> SampleSource:
    """The interfaces of this host."""
    return NetworkSource(settings, host)
