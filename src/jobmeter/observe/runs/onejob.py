"""The one job that a run is, as the agent's loop looks for jobs."""

from __future__ import annotations

from msgspec import Struct

from jobmeter.model.job import JobIdentity, RunningJob
from jobmeter.observe.jobs.changes import Changes
from jobmeter.observe.runs.child import descendants
from jobmeter.observe.runs.group import OwnGroup


class OneJob(Struct):
    """Finds the job: by its control group, else by the processes below the command (`pid`) and those it left to us."""

    identity: JobIdentity
    began_ns: int
    group: OwnGroup | None
    pid: int
    own_pid: int
    proc: str = "/proc"
    apart: frozenset[int] | set[int] = frozenset()
    """Processes below us that are no part of the job."""
    jobs: tuple[RunningJob, ...] = ()
    descriptor: int | None = None
    patience_seconds: float = 1.0

    def look(self, now_ns: int) -> Changes:
        """It is new at the first look, and does not end by itself."""
        del now_ns
        is_new = not self.jobs
        if self.group is not None:
            if is_new:
                self.jobs = (RunningJob(self.identity, self.group.below, self.began_ns, self.began_ns),)
        else:
            below = tuple(descendants(self.proc, self.own_pid, self.apart)[1:])
            self.jobs = (RunningJob(self.identity, {}, self.began_ns, self.began_ns, processes=below or (self.pid,)),)
        return Changes(begun=self.jobs) if is_new else Changes()

    def close(self) -> None:
        """Nothing is kept open."""
