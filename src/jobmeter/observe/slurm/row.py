"""One row of sacct's table: a job or a step of one, its columns as text."""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec import Struct

_JOB_ID = re.compile(r"\d+(?:_(?:\d+|\[[^\]]*\])|\+\d+)?", re.ASCII)


class Row(Struct, frozen=True):
    """`values` holds each column that was asked for, under its name in lower case; an empty text is no value.

    `raw` is the entry as the source gave it, for people.
    """

    values: Mapping[str, str]
    raw: str

    @property
    def job(self) -> str:
        """The job's id as sacct prints it, `17`, `17_4` or `17+1`, without a step."""
        return self.values["jobid"].partition(".")[0]

    @property
    def raw_job(self) -> str:
        """The job's own number, by which its runs are told to be of one job."""
        return self.values["jobidraw"].partition(".")[0]

    @property
    def step(self) -> str | None:
        """What follows the first dot of the id: a step of any kind. None on the row of the job itself."""
        _, dot, step = self.values["jobid"].partition(".")
        return step if dot else None

    @property
    def is_sound(self) -> bool:
        """Whether the id is one of a job or step."""
        return _JOB_ID.fullmatch(self.job) is not None and self.raw_job.isascii() and self.raw_job.isdigit()
