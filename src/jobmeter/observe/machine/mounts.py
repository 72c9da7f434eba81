"""Space of mounts, each asked by statvfs with a time limit: a file system whose server is gone answers never."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from jobmeter.contract import SourceUnreadable

_OCTAL = re.compile(r"\\([0-7]{3})")
_WITHOUT_SPACE = frozenset(
    {"autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "devtmpfs", "efivarfs"}
    | {"fusectl", "fuse.gvfsd-fuse", "fuse.lxcfs", "hugetlbfs", "mqueue", "nsfs", "overlay", "proc", "pstore", "ramfs"}
    | {"rpc_pipefs", "securityfs", "selinuxfs", "squashfs", "sysfs", "tmpfs", "tracefs", "iso9660"}
)


class Mount(Struct, frozen=True):
    """A line of /proc/mounts."""

    source: str
    point: str
    type: str


class Space(Struct, frozen=True):
    """Bytes: in all, used, and free for users without privileges."""

    total: int
    used: int
    free: int


def parse(text: str) -> dict[str, Mount]:
    """The mounts by their point, the one on top where there are several (proc(5): octal escapes for blanks)."""
    found = {}
    for line in text.splitlines():
        words = [_OCTAL.sub(lambda match: chr(int(match[1], 8)), word) for word in line.split()]
        if len(words) >= 3:
            found[words[1]] = Mount(words[0], words[1], words[2])
    return found


def real(mounts: dict[str, Mount]) -> list[str]:
    """The points of file systems that hold data, each source once, in order."""
    found: dict[str, str] = {}
    for mount in mounts.values():
        if mount.type not in _WITHOUT_SPACE:
            found.setdefault(mount.source, mount.point)
    return list(found.values())


def space(path: Path, seconds: float, statvfs: Callable[[Path], os.statvfs_result] = os.statvfs) -> Space:
    """What the file system of a path holds. Raises FileNotFoundError, and SourceUnreadable when it gives no answer."""
    answers: list[os.statvfs_result | OSError] = []

    def ask() -> None:
        try:
            answers.append(statvfs(path))
        except OSError as fault:
            answers.append(fault)

    # The thread may hang for ever within the kernel; as a daemon it keeps nobody from ending.
    thread = threading.Thread(target=ask, name="statvfs", daemon=True)
    thread.start()
    thread.join(seconds)
    if not answers:
        raise SourceUnreadable(f"{path} gave no answer in {seconds:g} s")
    answer = answers[0]
    if isinstance(answer, FileNotFoundError):
        raise answer
    if isinstance(answer, OSError):
        raise SourceUnreadable(f"{path}: {answer.strerror}")
    unit = answer.f_frsize
    return Space(answer.f_blocks * unit, (answer.f_blocks - answer.f_bfree) * unit, answer.f_bavail * unit)
