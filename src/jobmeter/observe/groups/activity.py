"""Whether anything ran in a job: by the processor time that its control group counts, which costs one reading."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from jobmeter.model.job import JobIdentity, RunningJob
from jobmeter.observe.cgroups import Hierarchies
from jobmeter.observe.kept import KeptFile, kept

_FILES = {1: "cpuacct.usage", 2: "cpu.stat"}


class _Watched(Struct):
    """The file of one job, and what it said when it was asked last."""

    job: RunningJob
    file: KeptFile | None
    said: bytes | None = None


class Activity:
    """Remembers what the groups of jobs had used."""

    def __init__(self, trees: Hierarchies) -> None:
        self._trees = trees
        self._watched: dict[JobIdentity, _Watched] = {}

    def is_still(self, job: RunningJob) -> bool:
        """Whether nothing ran in the job since this was asked last; False where that is not known."""
        watched = self._watched.get(job.identity)
        if watched is None or watched.job is not job:
            self._forget(job.identity)
            place = self._trees.folder("cpuacct", job)
            file = None if place is None else kept(f"{place[1]}/{_FILES[place[0]]}")
            watched = self._watched[job.identity] = _Watched(job, file)
        if watched.file is None:
            return False
        try:
            before, watched.said = watched.said, watched.file.read()
        except OSError:
            watched.said = None
            return False
        return watched.said == before

    def keep(self, jobs: Iterable[RunningJob]) -> None:
        """Forget all other jobs."""
        for identity in self._watched.keys() - {job.identity for job in jobs}:
            self._forget(identity)

    def close(self) -> None:
        """Close all files."""
        self.keep(())

    def _forget(self, identity: JobIdentity) -> None:
        watched = self._watched.pop(identity, None)
        if watched is not None and watched.file is not None:
            watched.file.close()
