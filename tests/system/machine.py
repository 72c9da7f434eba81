"""A machine whose first process is systemd: namespaces and control groups of its own around a Debian root.

Its network is loopback alone, its control groups are version 1's named tree and version 2 without controllers. Needs
root, and a kernel with both versions mounted as on a hybrid system.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.system.bare import ran

TREES = ("/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified")
"""Where the two trees are that systemd is given a part of."""

_SECONDS = 90.0
_BOOT = r"""
set -e
mount --make-rprivate /
mount --bind "$0" "$0"
cd "$0"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
mount -t tmpfs tmpfs dev/shm
for name in null zero full random urandom tty; do touch dev/$name; mount --bind /dev/$name dev/$name; done
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup
mkdir sys/fs/cgroup/unified sys/fs/cgroup/systemd
mount -t cgroup2 cgroup2 sys/fs/cgroup/unified
mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd
mkdir -p before
pivot_root . before
umount -l /before
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd
"""
_LOOPBACK_UP = """
import fcntl, socket, struct
with socket.socket() as any:
    fcntl.ioctl(any, 0x8914, struct.pack("16sh", b"lo", 0x43))
"""


class Machine:
    """A root that runs. `start` returns when systemd has started all it starts, `stop` ends every process of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._groups = [Path(tree, f"jobmeter-machine-{os.getpid()}") for tree in TREES]
        self._first: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        (self.root / "etc/hostname").write_text("machine\n")
        for group in self._groups:
            group.mkdir()
        self._first = subprocess.Popen(
            [
                *("unshare", "--mount", "--pid", "--uts", "--ipc", "--cgroup", "--net", "--fork", "--kill-child"),
                *("/bin/sh", "-c", _BOOT, str(self.root)),
            ],
            stdin=subprocess.DEVNULL,
            preexec_fn=self._enter_groups,  # noqa: PLW1509 - nothing but two writes, and this process has no threads
        )
        self.wait(lambda: self.told("systemctl", "is-system-running") in ("running\n", "degraded\n"))
        self.run("python3", "-c", _LOOPBACK_UP)

    def stop(self) -> None:
        if self._first is not None:
            for pid in self._inner():
                os.kill(pid, signal.SIGKILL)  # the first process of a namespace takes all others along
            self._first.wait(30)
        for group in self._groups:
            self._remove(group)

    def run(self, *words: str) -> str:
        """What a command prints in the machine; it must end well."""
        return ran(*self._entering(), *words)

    def told(self, *words: str) -> str:
        """What a command prints, however it ends."""
        return subprocess.run([*self._entering(), *words], capture_output=True, text=True, check=False).stdout

    def wait(self, found: Callable[[], bool], seconds: float = _SECONDS) -> None:
        """Until something is so."""
        end = time.monotonic() + seconds
        while not found():
            assert time.monotonic() < end, "it did not come in time"
            time.sleep(0.3)

    def shown(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.run("systemctl", "show", "--property", name, "--value", unit).strip()

    def _enter_groups(self) -> None:
        for group in self._groups:
            with open(group / "cgroup.procs", "wb", buffering=0) as file:  # noqa: PTH123
                file.write(b"0")

    def _inner(self) -> list[int]:
        assert self._first is not None
        text = Path(f"/proc/{self._first.pid}/task/{self._first.pid}/children").read_text()
        return [int(word) for word in text.split()]

    def _entering(self) -> list[str]:
        inner = self._inner()
        if not inner:
            return ["false"]
        spaces = ("--mount", "--pid", "--uts", "--ipc", "--cgroup", "--net")
        plain = ("env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8")
        return ["nsenter", f"--target={inner[0]}", *spaces, *plain]

    @staticmethod
    def _remove(group: Path) -> None:
        for folder, _, _ in os.walk(group, topdown=False):
            end = time.monotonic() + 10
            while Path(folder).exists() and time.monotonic() < end:
                try:
                    Path(folder).rmdir()
                except OSError:  # its last process is still going
                    time.sleep(0.1)
