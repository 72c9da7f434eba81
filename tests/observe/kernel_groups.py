"""Control groups that a test makes in the kernel's real trees, and processes in them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from jobmeter.observe.cgroups import Hierarchies, hierarchies
from jobmeter.observe.host import Host, this_host
from tests.process import PATIENCE_SECONDS

BURN = "import sys, time\nend = time.process_time() + float(sys.argv[1])\nwhile time.process_time() < end:\n    pass\n"
"""Uses so many seconds of processor time."""

_WAIT = "import os, sys; sys.stdin.readline(); os.execvp(sys.argv[1], sys.argv[1:])"


class Groups:
    """A folder in each tree of control groups that this test may write to; `job` makes one below it."""

    def __init__(self, host: Host, trees: Hierarchies) -> None:
        self.host = host
        self.trees = trees
        self.name = f"jobmeter-test-{uuid.uuid4().hex[:8]}"
        wanted = ("cpuacct", "memory", "pids") if "cpuacct" in trees.old else ("",)
        self.roots = {name: Path(root, self.name) for name, root in trees.roots().items() if name in wanted}
        for root in self.roots.values():
            root.mkdir()

    @property
    def root(self) -> Path:
        """The folder of jobs in the tree that counts processor time."""
        return next(iter(self.roots.values()))

    def make(self, job: str) -> None:
        """A folder for a job in each tree."""
        for root in self.roots.values():
            (root / job).mkdir()

    def start(
        self, job: str, argv: Sequence[str], seen: Callable[[], object] = lambda: None
    ) -> subprocess.Popen[bytes]:
        """A process that is in the job from its first instruction; `seen` is called before that."""
        wait = [sys.executable, "-S", "-c", _WAIT]
        process = subprocess.Popen([*wait, *argv], stdin=subprocess.PIPE)
        for root in self.roots.values():
            (root / job / "cgroup.procs").write_text(str(process.pid))
        seen()
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.close()
        return process

    def used_ns(self, job: str) -> int:
        """The kernel's word on the job's processor time."""
        if (file := self.root / job / "cpuacct.usage").exists():
            return int(file.read_text())
        line = (self.root / job / "cpu.stat").read_text().splitlines()[0]
        return int(line.split()[1]) * 1000

    def remove(self, job: str) -> None:
        """The batch system's way: the folders go as soon as nobody is in them."""
        for root in self.roots.values():
            removed(root / job)

    def close(self) -> None:
        """Remove what is left."""
        for root in self.roots.values():
            for folder in [*root.iterdir(), root] if root.exists() else ():
                if folder.is_dir():
                    removed(folder)


def removed(folder: Path) -> None:
    """Remove a group; one whose last process is just going stays busy for a moment."""

    def gone() -> bool:
        with contextlib.suppress(OSError):
            folder.rmdir()
        return not folder.exists()

    end = time.monotonic() + PATIENCE_SECONDS
    while not gone():
        assert time.monotonic() < end, f"{folder} stays busy"
        time.sleep(0.005)


@pytest.fixture
def groups() -> Iterator[Groups]:
    """Real control groups."""
    if os.geteuid() != 0:
        pytest.skip("making control groups needs root")
    host = this_host()
    made = Groups(host, hierarchies(host))
    try:
        yield made
    finally:
        made.close()
