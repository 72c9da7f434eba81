"""Which job, of which manager, on which cluster; and a job as it runs on a node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta, Struct


class JobIdentity(Struct, frozen=True, order=True):
    """Names one run of one job. Fields stay apart: an identity is never built by joining strings.

    `manager` is the batch system ("slurm", "htcondor", "oar", "kubernetes", "systemd", "jobmeter"), `cluster` its own
    name for itself, `job` its id as the manager prints it, `run` counts restarts of that id from 0.
    """

    manager: str
    cluster: str
    job: str
    run: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0

    @property
    def shown(self) -> str:
        """For people: `slurm/alpha:123`, with `.1` behind it where it is the first restart."""
        place = f"{self.manager}/{self.cluster}" if self.cluster else self.manager
        return f"{place}:{self.job}" + (f".{self.run}" if self.run else "")


class RunningJob(Struct, frozen=True):
    """A job that is on a node now.

    `cgroups` has the folder that holds the job, below the root of each hierarchy: by controller name for version 1
    ("cpuacct", "memory"), under "" for version 2. `found_ns` is when it was first seen, in nanoseconds since 1970 UTC;
    `since_ns` is when it began on this node, None when it was there before we looked. Where a person named processes
    or threads in place of a folder, their ids are there. A job that comes again under the same identity has another
    `found_ns`.
    """

    identity: JobIdentity
    cgroups: Mapping[str, str]
    found_ns: int
    since_ns: int | None = None
    processes: tuple[int, ...] = ()
    threads: tuple[int, ...] = ()
