"""What is new since the last look for jobs."""

from __future__ import annotations

from msgspec import Struct

from jobmeter.model.job import RunningJob


class Changes(Struct, frozen=True):
    """Jobs that came, jobs that went, jobs whose last process has just ended."""

    begun: tuple[RunningJob, ...] = ()
    ended: tuple[RunningJob, ...] = ()
    emptied: tuple[RunningJob, ...] = ()
