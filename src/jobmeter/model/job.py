"""Which job, of which manager, on which cluster."""

from __future__ import annotations

from msgspec import Struct


class JobIdentity(Struct, frozen=True, order=True):
    """Names one run of one job. Fields stay apart: an identity is never built by joining strings.

    `manager` is the batch system ("slurm", "htcondor", "oar", "kubernetes", "jobmeter"), `cluster` its own name for
    itself, `job` its id as the manager prints it, `run` counts restarts of that id from 0.
    """

    manager: str
    cluster: str
    job: str
    run: int = 0
