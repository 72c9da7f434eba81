"""How this host is: load, memory, network and mounts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Annotated, Any

from msgspec import Meta, Struct

from jobmeter.contract import DocumentBatch, Section, SourceUnreadable
from jobmeter.model.document import Document, JsonValue
from jobmeter.observe.host import Host
from jobmeter.observe.machine import memory, mounts, network

_FIRST_SECONDS = 0.25
"""Without a sample to compare with (the first run, a reboot) the network is watched for so long."""


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """Which mounts are told of, and how long one may take to answer."""

    mounts: Annotated[
        tuple[str, ...],
        Meta(description='Folders to tell the space of; one that is absent is left out; "all" stands for all disks.'),
    ] = ("/home", "/data", "/scratch")
    mount_seconds: Annotated[float, Meta(gt=0, description="How long a mount may take to answer.")] = 5
    as_it_was: Annotated[
        bool, Meta(description="As the superseded program: all interfaces count, the first sample is 0 in 0 seconds.")
    ] = False


class HostSection:
    """A Section; see `jobmeter.contract`. The cursor keeps the counters of the network."""

    def __init__(self, settings: Settings, host: Host) -> None:
        self._settings = settings
        self._host = host
        self._node = host.name

    def read(self, cursor: str | None) -> Iterator[DocumentBatch]:
        """CPU, MEM, NETWORK, and DISK for each mount; the network's counters move with its document."""
        yield self._part("the load", self._load)
        yield self._part("the memory", self._memory)
        try:
            now, document = self._network(network.kept(cursor))
            yield DocumentBatch((document,), cursor=now.text())
        except SourceUnreadable as fault:
            yield DocumentBatch((), unreadable=(f"the network: {fault}",))
        for mount in self._mounts():
            try:
                yield self._part("a mount", lambda mount=mount: self._disk(mount))  # type: ignore[misc]
            except FileNotFoundError:
                continue

    def _part(self, what: str, read: Callable[[], Document]) -> DocumentBatch:
        try:
            return DocumentBatch((read(),))
        except SourceUnreadable as fault:
            return DocumentBatch((), unreadable=(f"{what}: {fault}",))

    def _document(self, kind: str, **fields: JsonValue) -> Document:
        return Document(kind, "", self._host.clock.now(), {"login_node": self._node, **fields})

    def _load(self) -> Document:
        return self._document("CPU", load=memory.load(self._host))

    def _memory(self) -> Document:
        total, available = memory.memory(self._host)
        return self._document("MEM", total=total, available=available)

    def _network(self, before: network.Sample | None) -> tuple[network.Sample, Document]:
        every = self._settings.as_it_was
        now = network.sample(self._host, every_interface=every)
        traffic = None if before is None else network.between(before, now)
        if traffic is None and every:
            traffic = network.Traffic(0, 0, 0.0)
        if traffic is None:
            time.sleep(_FIRST_SECONDS)
            before, now = now, network.sample(self._host)
            traffic = network.between(before, now)
        if traffic is None:
            raise SourceUnreadable("the host's clock since boot stands still")
        fields: dict[str, Any] = {
            "sent": traffic.sent, "received": traffic.received, "interval": traffic.interval
        }  # fmt: skip
        return now, self._document("NETWORK", network=fields)

    def _mounts(self) -> list[str]:
        wanted = self._settings.mounts
        return mounts.real(self._table()) if wanted == ("all",) else list(wanted)

    def _table(self) -> dict[str, mounts.Mount]:
        try:
            return mounts.parse(memory.read(self._host, "/proc/mounts"))
        except SourceUnreadable:
            return {}

    def _disk(self, point: str) -> Document:
        space = mounts.space(self._host.path(point), self._settings.mount_seconds)
        fields: dict[str, JsonValue] = {}
        mount = self._table().get(point)
        if mount is not None:
            fields["device"] = mount.source.replace("/dev/", "")
        fields |= {"mount": point, "total": space.total, "used": space.used, "free": space.free}
        if space.total:
            fields["utilization"] = space.used / space.total
        return self._document("DISK", **fields)


def open_section(settings: Settings, host: Host) -> Section:
    """This host."""
    return HostSection(settings, host)
