"""Bytes sent and received by the host's own interfaces since they were last looked at.

/proc/net/dev counts every interface. What goes over a bridge, a bond, a VLAN or a tunnel is counted at the interface
below it as well, and what goes over the loopback or between containers never leaves the host: these are left out by
what /sys/class/net tells of them (Documentation/ABI/testing/sysfs-class-net of the kernel).
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from jobmeter.contract import SourceUnreadable
from jobmeter.observe.host import Host
from jobmeter.observe.machine.memory import read

_WRAP = 2**32
_VIRTUAL_NAMES = ("docker", "br-", "virbr", "veth", "cni", "cali", "flannel", "lxc", "tun", "tap", "wg")


class Sample(Struct, frozen=True):
    """The counters at a moment: (received, sent) in bytes by interface, seconds since boot, and which boot it was."""

    boot: str
    seconds: float
    interfaces: dict[str, tuple[int, int]]

    def text(self) -> str:
        """As it is kept."""
        return msgspec.json.encode(self).decode()


class Traffic(Struct, frozen=True):
    """Bytes within `interval` seconds."""

    sent: int
    received: int
    interval: float


def sample(host: Host, *, every_interface: bool = False) -> Sample:
    """The counters now. Raises SourceUnreadable."""
    counted = parse(read(host, "/proc/net/dev"))
    if not every_interface:
        counted = {name: bytes_ for name, bytes_ in counted.items() if _is_own(host, name)}
    uptime = read(host, "/proc/uptime").split()
    try:
        return Sample(_boot(host), float(uptime[0]), counted)
    except (ValueError, IndexError):
        raise SourceUnreadable("/proc/uptime makes no sense") from None


def parse(text: str) -> dict[str, tuple[int, int]]:
    """(received, sent) in bytes by interface, of /proc/net/dev."""
    found = {}
    for line in text.splitlines()[2:]:
        name, _, rest = line.partition(":")
        values = rest.split()
        if len(values) >= 9 and values[0].isdecimal() and values[8].isdecimal():
            found[name.strip()] = (int(values[0]), int(values[8]))
    return found


def kept(text: str | None) -> Sample | None:
    """The sample that a text keeps, or None when there is none that can be read."""
    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=Sample)
    except (msgspec.MsgspecError, UnicodeError):
        return None


def between(before: Sample, now: Sample) -> Traffic | None:
    """The traffic from one sample to the next; None when they are not of one boot, or no time lies between."""
    interval = round(now.seconds - before.seconds, 3)
    if before.boot != now.boot or interval <= 0:
        return None
    received = sent = 0
    for name, (received_now, sent_now) in now.interfaces.items():
        # An interface that was not there before counts from now on.
        received_before, sent_before = before.interfaces.get(name, (received_now, sent_now))
        received += _grown(received_before, received_now)
        sent += _grown(sent_before, sent_now)
    return Traffic(sent, received, interval)


def _grown(before: int, now: int) -> int:
    if now >= before:
        return now - before
    if _WRAP // 2 < before < _WRAP:
        return now + _WRAP - before  # a driver with counters of 32 bits
    return now  # the driver was loaded anew and began at 0


def _boot(host: Host) -> str:
    return read(host, "/proc/sys/kernel/random/boot_id").strip()


def _is_own(host: Host, name: str) -> bool:
    if name == "lo":
        return False
    folder = host.path(f"/sys/class/net/{name}")
    if not folder.exists():
        return not name.startswith(_VIRTUAL_NAMES)
    if any((folder / part).exists() for part in ("bridge", "bonding", "tun_flags")):
        return False
    if (folder / "brport").exists() and not (folder / "device").exists():
        return False
    return not any(folder.glob("lower_*"))
