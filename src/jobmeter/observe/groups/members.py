"""Which processes and threads are in a job: of its control group and of all groups below it."""

from __future__ import annotations

import os
from collections.abc import Iterator

from jobmeter.model.job import RunningJob
from jobmeter.observe.cgroups import Hierarchies
from jobmeter.observe.host import Host

_PIECE_BYTES = 1 << 12
_FULL_BYTES = _PIECE_BYTES - 16
"""The kernel gives whole lines, each a number: a piece that is shorter is the last."""
_FOLDERS_MOST = 10_000
_ALONE = 2
"""The links of a folder that has no folder in it."""


class Members:
    """Lists the tasks of jobs. A job that is gone has none.

    The lists of version 1 are opened anew each time: a list that stays open there is one that the kernel made before.
    """

    def __init__(self, host: Host, trees: Hierarchies) -> None:
        self._proc = str(host.path("/proc"))
        self._trees = trees

    def threads(self, job: RunningJob) -> list[int]:
        """The ids of all threads."""
        if job.processes or job.threads:
            return [*job.threads, *(tid for pid in job.processes for tid in _numbers_in(f"{self._proc}/{pid}/task"))]
        return self._listed(job, ("tasks", "cgroup.threads"))

    def processes(self, job: RunningJob) -> list[int]:
        """The ids of all processes."""
        if job.processes or job.threads:
            return [*job.processes, *job.threads]
        return list(dict.fromkeys(self._listed(job, ("cgroup.procs",))))

    def folders(self, job: RunningJob) -> Iterator[str]:
        """The job's folder and all below it."""
        top = self._trees.any_folder(job)
        if top is not None:
            yield from within(top)

    def _listed(self, job: RunningJob, names: tuple[str, ...]) -> list[int]:
        found: list[int] = []
        for folder in self.folders(job):
            for name in names:
                data = _content(f"{folder}/{name}")
                if data is not None:
                    found += map(int, data.split())
                    break
        return found


def within(folder: str) -> Iterator[str]:
    """A folder and all below it, those above first.

    Who may make groups, as in a container, may make them as deep and as many as he likes: no stack is needed, and it is
    given up after so many.
    """
    waiting = [folder]
    for _ in range(_FOLDERS_MOST):
        if not waiting:
            return
        place = waiting.pop()
        yield place
        try:
            if os.stat(place).st_nlink == _ALONE:  # noqa: PTH116 - for every job, every second
                continue
            with os.scandir(place) as entries:
                waiting += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:
            continue


def _content(path: str) -> bytes | None:
    """The whole file, however long; None when it is not there or the group cannot have such a list."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        piece = data = os.read(descriptor, _PIECE_BYTES)
        while len(piece) > _FULL_BYTES:
            piece = os.read(descriptor, _PIECE_BYTES)
            data += piece
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return data


def _numbers_in(folder: str) -> list[int]:
    try:
        return [int(name) for name in os.listdir(folder)]  # noqa: PTH208 - often
    except OSError:
        return []
