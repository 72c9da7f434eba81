"""A publication: what a reporter told somebody outside, and what became of it."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

from msgspec import Struct


class Fate(Enum):
    """What became of what was sent."""

    WAITING = "waiting"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    SUPERSEDED = "superseded"
    """Something newer took its place before it was delivered."""


class Publication(Struct, frozen=True):
    """One message about one `site` and `month` ("2026-01"; `day` 0, or its day), sent to `receiver`.

    `what` is the kind of message ("summary", "sync", "jobs"), `part` its place among `parts`. `counts` is what the
    report counted in all parts: jobs, wall_seconds, cpu_seconds, unfit (jobs that lack something and are left out),
    unrun (jobs without a runtime, which no report counts). `of_sites` are the sites of the account whose jobs it is
    about, where they have other names than the receiver knows. `digest` is the SHA-256 of the message,
    `receipt` what the receiver answered, `reason` why it waits or was rejected. `made` tells two messages apart that
    say the same.
    """

    reporter: str
    receiver: str
    site: str
    month: str
    what: str
    made: datetime
    digest: str
    fate: Fate
    counts: dict[str, int]
    day: int = 0
    part: int = 0
    parts: int = 1
    settled: datetime | None = None
    receipt: str = ""
    reason: str = ""
    of_sites: tuple[str, ...] = ()

    @property
    def sites(self) -> tuple[str, ...]:
        """The sites of the account."""
        return self.of_sites or (self.site,)
