"""The traffic of InfiniBand and Omni-Path ports.

The kernel's files are read (`/sys/class/infiniband/DEVICE/ports/N/counters`); a driver without them, such as soft-RoCE,
only counts packets. Where no port of the devices has any counter, `perfquery` is asked in a thread of its own. Data is
counted in words of 4 bytes, by Omni-Path's perfquery in words of 8. Facts: the kernel's ABI document on
sysfs-class-infiniband.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from threading import Event
from typing import Annotated

from msgspec import Meta, Struct

from jobmeter.contract import Reading, SampleSource, SourceAbsent, SourceUnreadable
from jobmeter.model.job import RunningJob
from jobmeter.model.metric import Kind, Metric
from jobmeter.model.sample import Sample
from jobmeter.observe.host import CommandFailed, CommandMissing, CommandTimedOut, Host, OutputTooLarge
from jobmeter.observe.kept import KeptFile, kept
from jobmeter.observe.latest import Latest
from jobmeter.observe.renewed import Renewed

_FOLDER = "/sys/class/infiniband"
_WORD, _LONG_WORD = 4, 8
_COUNTERS = {
    "port_xmit_data": "port_xmit_data",
    "port_rcv_data": "port_rcv_data",
    "port_xmit_packets": "port_xmit_packets",
    "port_rcv_packets": "port_rcv_packets",
    "port_xmit_wait": "port_xmit_wait",
    "port_rcv_errors": "port_rcv_errors",
    "port_xmit_discards": "port_xmit_discards",
    "link_downed": "link_downed",
}
_SOFT = {"sent_pkts": "port_xmit_packets", "rcvd_pkts": "port_rcv_packets"}
_ASKED = {
    "PortXmitData": "port_xmit_data",
    "PortRcvData": "port_rcv_data",
    "PortXmitPkts": "port_xmit_packets",
    "PortRcvPkts": "port_rcv_packets",
}
_LINE = re.compile(r"^(\w+):\.*(\d+)", re.MULTILINE | re.ASCII)
_DATA = frozenset({"port_xmit_data", "port_rcv_data"})

METRICS = (
    Metric("infiniband_port_xmit_data", "bytes", Kind.COUNTER, "Sent by a port."),
    Metric("infiniband_port_rcv_data", "bytes", Kind.COUNTER, "Received by a port."),
    Metric("infiniband_port_xmit_packets", "count", Kind.COUNTER, "Packets sent by a port."),
    Metric("infiniband_port_rcv_packets", "count", Kind.COUNTER, "Packets received by a port."),
    Metric("infiniband_port_xmit_wait", "count", Kind.COUNTER, "Ticks in which a port had data and could not send."),
    Metric("infiniband_port_rcv_errors", "count", Kind.COUNTER, "Packets received with an error."),
    Metric("infiniband_port_xmit_discards", "count", Kind.COUNTER, "Packets thrown away before sending."),
    Metric("infiniband_link_downed", "count", Kind.COUNTER, "How often the link was lost."),
)


class Settings(Struct, frozen=True):
    """How ports are read."""

    omnipath: Annotated[bool, Meta(description="Data that perfquery counts is in words of 8 bytes, not 4.")] = False
    perfquery: Annotated[str, Meta(description="The program that is asked where there are no files.")] = (
        "/usr/sbin/perfquery"
    )
    timeout_seconds: Annotated[float, Meta(description="How long it may take.", gt=0, le=600)] = 5.0
    every_seconds: Annotated[float, Meta(description="How often it is asked.", ge=0.05, le=86400)] = 5.0


class _Port(Struct, frozen=True):
    files: tuple[KeptFile, ...]
    names: tuple[str, ...]

    def close(self) -> None:
        for file in self.files:
            file.close()


class InfinibandSource:
    """Reads all ports."""

    def __init__(self, settings: Settings, host: Host) -> None:
        self._node = host.name
        self._settings = settings
        self.metrics = METRICS
        folder = str(host.path(_FOLDER))
        self._ports = Renewed(lambda: _ports(folder), _Port.close)
        self._asked: Latest[Mapping[str, int]] | None = None
        if not self._ports.devices():
            if not _names(folder):
                raise SourceAbsent(f"there is no device in {_FOLDER}")
            if not host.path(settings.perfquery).exists():
                raise SourceAbsent(f"there is no port in {_FOLDER} and no {settings.perfquery}")
            self._asked = Latest("perfquery", lambda stop: asked(host, settings, stop), settings.every_seconds)

    def read(self, now_ns: int, jobs: Sequence[RunningJob], reading: Reading = Reading.ALL) -> Iterator[Sample]:
        """A sample of the node per port."""
        if reading is not Reading.ALL:
            return
        involved = tuple(job.identity for job in jobs)
        for instance, port in self._ports.devices().items():
            values = tuple(_value(file, name) for file, name in zip(port.files, port.names, strict=True))
            names = tuple(f"infiniband_{name}" for name in port.names)
            yield Sample("infiniband", self._node, None, now_ns, names, values, instance, involved=involved)
        found = None if self._asked is None else self._asked.take()
        if found is not None:
            names = tuple(f"infiniband_{name}" for name in found[0])
            yield Sample("infiniband", self._node, None, found[1], names, tuple(found[0].values()), involved=involved)

    def await_answer(self, seconds: float) -> None:
        """Wait for the first word of perfquery, where that is asked."""
        if self._asked is not None:
            self._asked.await_first(seconds)

    def close(self) -> None:
        """Close the files, and ask no more."""
        self._ports.close()
        if self._asked is not None:
            self._asked.close()


def _ports(folder: str) -> dict[str, _Port]:
    """The ports that count anything, by device and number."""
    found = {}
    for device in _names(folder):
        for number in _names(f"{folder}/{device}/ports"):
            port = f"{folder}/{device}/ports/{number}"
            files = _files(f"{port}/counters", _COUNTERS) or _files(f"{port}/hw_counters", _SOFT)
            files = files or _files(f"{folder}/{device}/hw_counters", _SOFT)
            if files:
                found[f"{device}/{number}"] = _Port(tuple(files.values()), tuple(files))
    return found


def _files(folder: str, names: Mapping[str, str]) -> dict[str, KeptFile]:
    opened = {ours: kept(f"{folder}/{name}") for name, ours in names.items()}
    return {name: file for name, file in opened.items() if file is not None}


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208
    except OSError:
        return []


def _value(file: KeptFile, name: str) -> int | None:
    try:
        return int(file.read()) * (_WORD if name in _DATA else 1)
    except (OSError, ValueError):
        return None


def asked(host: Host, settings: Settings, unwanted: Event | None = None) -> Mapping[str, int]:
    """What perfquery says of the default port. Raises SourceUnreadable."""
    try:
        output = host.run(
            [settings.perfquery, "-x"],
            environment={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            timeout_seconds=settings.timeout_seconds,
            output_max_bytes=1 << 20,
            unwanted=unwanted,
        )
    except (CommandMissing, CommandFailed, CommandTimedOut, OutputTooLarge) as fault:
        raise SourceUnreadable(str(fault)) from None
    found = parse(output.text, _LONG_WORD if settings.omnipath else _WORD)
    if not found:
        raise SourceUnreadable(f"{settings.perfquery} names no counter of a port")
    return found


def parse(text: str, word_bytes: int) -> dict[str, int]:
    """Perfquery's lines `PortXmitData:....NUMBER`."""
    found: dict[str, int] = {}
    for name, value in _LINE.findall(text):
        ours = _ASKED.get(name)
        if ours is not None:
            found.setdefault(ours, int(value) * (word_bytes if ours in _DATA else 1))
    return found


def open_source(settings: Settings, host: Host) -> SampleSource:
    """The ports of this host. Raises SourceAbsent where there are none."""
    return InfinibandSource(settings, host)
