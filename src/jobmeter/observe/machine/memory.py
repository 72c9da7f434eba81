"""Load and memory, by /proc/loadavg and /proc/meminfo (proc(5))."""

from __future__ import annotations

from jobmeter.contract import SourceUnreadable
from jobmeter.observe.host import Host

_KIB = 1024


def load(host: Host) -> float:
    """The load of the last minute. Raises SourceUnreadable."""
    text = read(host, "/proc/loadavg")
    try:
        return float(text.split()[0])
    except (ValueError, IndexError):
        raise SourceUnreadable(f"/proc/loadavg makes no sense: {text[:80]!r}") from None


def memory(host: Host) -> tuple[int, int]:
    """Bytes of memory in all and available without swapping. Raises SourceUnreadable."""
    found = parse(read(host, "/proc/meminfo"))
    total, available = found.get("MemTotal"), found.get("MemAvailable")
    if total is None or available is None:
        raise SourceUnreadable("/proc/meminfo has no MemTotal or no MemAvailable")
    # Within containers of LXC, what is available may be that of the machine around it.
    return total * _KIB, min(available, total) * _KIB


def parse(text: str) -> dict[str, int]:
    """The values of /proc/meminfo in KiB."""
    found = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        value = rest.split()
        if value and value[0].isdecimal():
            found[name] = int(value[0])
    return found


def read(host: Host, path: str) -> str:
    """A small file of the kernel. Raises SourceUnreadable."""
    try:
        return host.path(path).read_text(encoding="utf-8", errors="replace")
    except OSError as fault:
        raise SourceUnreadable(f"{path} cannot be read: {fault.strerror}") from None
