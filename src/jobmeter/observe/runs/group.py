"""A control group of our own for one command, in every tree where that is allowed.

It lies below the group that we are in, so that whoever accounts for us (a batch system, an outer run) goes on doing so.
Facts: cgroups(7). In version 2 a group has the files of memory only where its parent gives them on, which a parent may
do that has no processes of its own; so we move aside when we are the only one there.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from contextlib import suppress

from msgspec import Struct

from jobmeter.observe.cgroups import UNIFIED, Hierarchies
from jobmeter.observe.host import Host

CONTROLLERS = ("cpuacct", "memory", "pids", "blkio", UNIFIED)
_FOLDER, _ASIDE = "jobmeter", "supervisor"
_STALE_SECONDS = 60.0
_LINE = re.compile(r"^\d+:([^:]*):(/.*)$", re.MULTILINE)


class OwnGroup(Struct, frozen=True):
    """The folders of a command by controller: as paths from here, and below the root of their tree."""

    paths: Mapping[str, str]
    below: Mapping[str, str]

    def enter(self) -> None:
        """Put the calling process into all of them; where that fails now it stays where it is. After a fork only."""
        for path in self.paths.values():
            with suppress(OSError), open(f"{path}/cgroup.procs", "wb", buffering=0) as file:  # noqa: PTH123
                file.write(b"0")

    def processes(self) -> set[int]:
        """The processes that are in it."""
        found: set[int] = set()
        for path in self.paths.values():
            with suppress(OSError, ValueError), open(f"{path}/cgroup.procs", "rb") as file:  # noqa: PTH123
                found.update(map(int, file.read().split()))
        return found

    def remove(self) -> None:
        """Remove the folders that nobody is in any more."""
        for path in self.paths.values():
            with suppress(OSError):
                os.rmdir(path)  # noqa: PTH106 - as the rest here
            with suppress(OSError):
                os.rmdir(os.path.dirname(path))  # noqa: PTH106, PTH120


def make(host: Host, trees: Hierarchies, job: str) -> OwnGroup | None:
    """Make the folders `jobmeter/run-JOB` for a new command. None where no tree that counts time allows it."""
    where = _where(host)
    paths: dict[str, str] = {}
    below: dict[str, str] = {}
    for controller in CONTROLLERS:
        root = trees.unified if controller == UNIFIED else trees.old.get(controller)
        here = where.get(controller)
        if root is None or here is None:
            continue
        path = _made(root, here, job, is_unified=controller == UNIFIED)
        if path is not None:
            paths[controller] = path
            below[controller] = path[len(root) :].strip("/")
    if "cpuacct" not in paths and UNIFIED not in paths:
        OwnGroup(paths, below).remove()
        return None
    return OwnGroup(paths, below)


def _where(host: Host) -> dict[str, str]:
    """In which group we are, by controller."""
    try:
        text = host.path("/proc/self/cgroup").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return {}
    return {name: path.rstrip("/") for names, path in _LINE.findall(text) for name in names.split(",")}


def _made(root: str, here: str, job: str, *, is_unified: bool) -> str | None:
    top = f"{root}{here}"
    folder = f"{top}/{_FOLDER}"
    try:
        if is_unified:
            _give_on(top)
        os.makedirs(folder, exist_ok=True)  # noqa: PTH103
        if is_unified:
            _give_on(folder)
        _clean(folder)
        path = f"{folder}/run-{job}"
        os.mkdir(path)  # noqa: PTH102
    except OSError:
        return None
    if os.access(f"{path}/cgroup.procs", os.W_OK):
        return path
    with suppress(OSError):
        os.rmdir(path)  # noqa: PTH106
    return None


def _give_on(folder: str) -> None:
    """Let groups below have the controllers of this one, if that may be done; time is counted without them."""
    try:
        with open(f"{folder}/cgroup.controllers", encoding="ascii") as file:  # noqa: PTH123
            there = file.read().split()
    except OSError:
        return
    words = " ".join(f"+{name}" for name in ("memory", "pids", "io", "cpu") if name in there)
    if not words:
        return
    try:
        _write(f"{folder}/cgroup.subtree_control", words)
    except OSError:
        with suppress(OSError):
            if _alone(folder):
                os.makedirs(f"{folder}/{_ASIDE}", exist_ok=True)  # noqa: PTH103
                _write(f"{folder}/{_ASIDE}/cgroup.procs", "0")
                _write(f"{folder}/cgroup.subtree_control", words)


def _alone(folder: str) -> bool:
    with open(f"{folder}/cgroup.procs", "rb") as file:  # noqa: PTH123
        return file.read().split() == [str(os.getpid()).encode()]


def _write(path: str, text: str) -> None:
    with open(path, "wb", buffering=0) as file:  # noqa: PTH123
        file.write(text.encode())


def _clean(folder: str) -> None:
    """Remove what ended commands left: a group that was still in use when its command ended."""
    old = time.time() - _STALE_SECONDS
    with os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):
                if entry.name.startswith("run-") and entry.stat().st_mtime < old:
                    os.rmdir(entry.path)  # noqa: PTH106
