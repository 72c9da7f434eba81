"""What `jobmeter doctor` looks at on the machine itself. Every check reads; none changes anything.

Facts: adjtimex(2), proc(5), the kernel's documents on cgroup-v2, perf-security and delay-accounting.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
import resource
import shutil
import socket
import sys
from collections.abc import Iterator, Sequence
from enum import Enum
from pathlib import Path

from msgspec import Struct

from jobmeter import registry
from jobmeter.contract import SourceAbsent, SourceUnreadable
from jobmeter.observe.cgroups import hierarchies
from jobmeter.observe.host import Host

PYTHON_LEAST = (3, 11)
KERNEL_LEAST = (3, 10)
ROOM_LEAST_BYTES, ROOM_GOOD_BYTES = 500 * 2**20, 5 * 2**30
FILES_LEAST = 4096
EXTRAS = {
    "server": ("starlette", "uvicorn", "sqlalchemy", "alembic", "jinja2"),
    "samples": ("numpy",),
    "postgresql": ("psycopg",),
    "archive": ("duckdb",),
    "hdf5": ("h5py",),
    "apel": ("cryptography",),
    "nvidia": ("pynvml",),
    "plot": ("PIL",),
}
_TIME_ERROR = 5
_TIMEX_BYTES = 512
_V1_NAMES = {"io": "blkio", "cpu": "cpuacct"}
"""What version 1 counts under another name."""
_V1_WANTED, _V2_WANTED = ("cpuacct", "memory"), ("cpu", "memory", "io", "pids")


class State(Enum):
    """What came of a check. NONE: this machine has not what was looked for."""

    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"
    NONE = "none"


class Check(Struct, frozen=True):
    """One thing that was looked at, what was found, and what mends it: always there for a warning and what is bad."""

    name: str
    state: State
    found: str
    mend: str = ""

    def __post_init__(self) -> None:
        if self.state in (State.WARNING, State.BAD) and not self.mend:
            raise ValueError(f"{self.name}: {self.found}: nothing is said that mends it")


def of_python() -> Iterator[Check]:
    """The interpreter and what is installed."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    good = sys.version_info[:2] >= PYTHON_LEAST
    yield Check("python", State.GOOD if good else State.BAD, version, "" if good else "install Python 3.11 or newer")
    for extra, modules in EXTRAS.items():
        missing = [name for name in modules if importlib.util.find_spec(name) is None]
        if missing:
            mend = f"pip install 'jobmeter[{extra}]', where it is wanted"
            yield Check(f"extra {extra}", State.NONE, f"not installed ({', '.join(missing)})", mend)
        else:
            yield Check(f"extra {extra}", State.GOOD, "installed")


def of_machine(host: Host, folders: Sequence[Path], port: int) -> Iterator[Check]:
    """Clock, room, open files, the port."""
    yield _clock()
    for folder in folders:
        try:
            yield _room(folder)
        except PermissionError as fault:
            mend = "ask as the user of the server, or give --data DIR"
            yield Check(f"disk {folder}", State.BAD, f"cannot be looked at: {fault.strerror}", mend)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = hard >= FILES_LEAST
    mend = "" if enough else "LimitNOFILE=65536 in the unit, or `ulimit -Hn 65536`"
    yield Check("open files", State.GOOD if enough else State.WARNING, f"up to {hard}", mend)
    yield _port(port)
    if host.path("/run/systemd/system").is_dir():
        folders_of_units = map(host.path, ("/etc/systemd/system", "/usr/lib/systemd/system"))
        units = sorted({path.name for each in folders_of_units for path in each.glob("jobmeter-*.service")})
        found = ", ".join(units) or "no unit of ours is installed"
        yield Check("systemd", State.GOOD, found, "" if units else "see packaging/systemd, to start with the machine")
    else:
        yield Check("systemd", State.NONE, "this machine was not started by systemd")


def _clock() -> Check:
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    if state == _TIME_ERROR:
        return Check("clock", State.WARNING, "the kernel says that nothing keeps it right", "timedatectl set-ntp true")
    if state < 0:
        return Check("clock", State.NONE, f"cannot be asked: {os.strerror(ctypes.get_errno())}")
    return Check("clock", State.GOOD, "kept right by a time service")


def _room(folder: Path) -> Check:
    name = f"disk {folder}"
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    if not os.access(there, os.W_OK | os.X_OK):
        found = "cannot be written" if folder.exists() else f"cannot be made: {there} cannot be written"
        return Check(name, State.BAD, found, f"as root: install -d -o {os.geteuid()} {folder}; or name another folder")
    free = shutil.disk_usage(there).free
    found = f"{free / 2**30:.1f} GiB free" + ("" if folder.exists() else ", not made yet")
    if free >= ROOM_GOOD_BYTES:
        return Check(name, State.GOOD, found)
    mend = f"make room on the file system of {there}; `jobmeter size` says how much"
    return Check(name, State.BAD if free < ROOM_LEAST_BYTES else State.WARNING, found, mend)


def _port(port: int) -> Check:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("127.0.0.1", port))
        except OSError as fault:
            found = f"is taken: {fault.strerror}"
            return Check(f"port {port}", State.WARNING, found, f"ss -ltnp 'sport = :{port}' says by whom; or --port")
    return Check(f"port {port}", State.GOOD, "is free")


def of_kernel(host: Host, user: int) -> Iterator[Check]:
    """What the kernel lets us read."""
    release = os.uname().release
    numbers = tuple(int(part) for part in re.findall(r"\d+", release)[:2])
    good = numbers >= KERNEL_LEAST
    yield Check("kernel", State.GOOD if good else State.BAD, release, "" if good else "needs Linux 3.10 or newer")
    yield _groups(host)
    yield _source(host, "taskstats", "CAP_NET_ADMIN: start as root, or AmbientCapabilities=CAP_NET_ADMIN in the unit")
    yield _delays(host)
    yield _perf(host, user)
    mend = "CAP_DAC_READ_SEARCH in the unit, or chmod g+r /sys/class/powercap/*/energy_uj for a group of ours"
    yield _source(host, "rapl", mend)
    yield _source(host, "ipmi", "apt install ipmitool (or freeipmi-tools), modprobe ipmi_devintf, start as root")
    yield _source(host, "nvidia", "install the driver, and pip install 'jobmeter[nvidia]'")


def _groups(host: Host) -> Check:
    try:
        roots = hierarchies(host).roots()
    except SourceAbsent as fault:
        return Check("cgroups", State.BAD, str(fault), "mount -t cgroup2 none /sys/fs/cgroup")
    if "" in roots:
        try:
            there = (Path(roots[""]) / "cgroup.controllers").read_text(encoding="utf-8").split()
        except OSError as fault:
            mend = f"mount -t cgroup2 none {roots['']}, or let us read it"
            return Check("cgroups", State.WARNING, f"version 2, its controllers cannot be read: {fault}", mend)
        older = sorted(name for name in roots if name)
        missing = [name for name in _V2_WANTED if name not in there and _V1_NAMES.get(name, name) not in older]
        found = f"version 2, controllers {' '.join(there) or 'none'}"
        if older:
            found += f"; beside it version 1, controllers {' '.join(older)}"
        mend = f"start the kernel with cgroup_enable={missing[0]}, or free it from version 1" if missing else ""
        return Check("cgroups", State.WARNING if missing else State.GOOD, found, mend)
    missing = [name for name in _V1_WANTED if name not in roots]
    mend = f"mount -t cgroup -o {missing[0]} none /sys/fs/cgroup/{missing[0]}" if missing else ""
    found = f"version 1, controllers {' '.join(sorted(roots))}"
    return Check("cgroups", State.WARNING if missing else State.GOOD, found, mend)


def _source(host: Host, name: str, mend: str) -> Check:
    plugin = registry.module("observe.kernel", name)
    try:
        source = plugin.open_source(plugin.Settings(), host)
    except SourceAbsent as fault:
        return Check(name, State.NONE, str(fault))
    except (SourceUnreadable, OSError) as fault:
        return Check(name, State.WARNING, str(fault), mend)
    source.close()
    return Check(name, State.GOOD, "can be read")


def _delays(host: Host) -> Check:
    text = _number(host, "/proc/sys/kernel/task_delayacct")
    if text is None:
        return Check("delay accounting", State.NONE, "this kernel has no switch for it")
    if text:
        return Check("delay accounting", State.GOOD, "is on")
    return Check(
        "delay accounting", State.NONE, "is off: no waiting times in taskstats", "sysctl kernel.task_delayacct=1"
    )


def _perf(host: Host, user: int) -> Check:
    level = _number(host, "/proc/sys/kernel/perf_event_paranoid")
    if level is None:
        return Check("perf", State.NONE, "this kernel counts no events")
    if user == 0 or level <= 0:
        return Check("perf", State.GOOD, f"events of jobs can be counted (perf_event_paranoid {level})")
    found = f"perf_event_paranoid is {level}: no events of whole jobs"
    mend = "sysctl kernel.perf_event_paranoid=0, or at most 2 and CAP_PERFMON, which the unit jobmeter-node has"
    return Check("perf", State.NONE, found, mend)


def _number(host: Host, path: str) -> int | None:
    try:
        return int(host.path(path).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
