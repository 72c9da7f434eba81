"""Facility documents as a receiver keeps them, what is asked of them, and the answers."""

from __future__ import annotations

from datetime import date, datetime
from enum import Enum

from msgspec import Struct

EVERY_CLUSTER = None
"""In the place of clusters: no limit."""

Clusters = frozenset[str] | None
"""The clusters that an asker may see, or EVERY_CLUSTER."""


class Access(Enum):
    """How people use the facility."""

    SSH = "ssh"
    JUPYTER = "jupyter"
    BATCH = "batch"


ACCESS_OF_KIND = {
    "ssh": Access.SSH,
    "jupyter-ml": Access.JUPYTER,
    "jupyter-coffea": Access.JUPYTER,
    "condorjob": Access.BATCH,
}
"""Which kinds of documents tell of people, and of what use."""


class Received(Struct, frozen=True):
    """A document that was taken. `body` is its JSON without the token; `identity` knows a repeat, None: none is known.

    `node` is the host it is of, `subject` what it is about there: the queue, the mount, the job.
    """

    kind: str
    cluster: str
    received: datetime
    observed: datetime
    body: bytes
    node: str | None = None
    subject: str | None = None
    state: str | None = None
    users: tuple[str, ...] = ()
    identity: bytes | None = None
    number: int | None = None
    """Given by the store."""


class Span(Struct, frozen=True):
    """From `start` on, before `stop`."""

    start: datetime
    stop: datetime


class DocumentQuestion(Struct, frozen=True):
    """Which documents, the newest first: at most `limit`, with numbers below `before`."""

    clusters: Clusters
    kind: str | None = None
    cluster: str | None = None
    node: str | None = None
    span: Span | None = None
    before: int | None = None
    limit: int = 100


class UserCount(Struct, frozen=True):
    """How many different people used the facility in a span of days: in any way, and in each."""

    start: date
    stop: date
    any: int
    by_access: dict[str, int]


class Seen(Struct, frozen=True):
    """Who was seen logged in on a host at a moment."""

    node: str
    observed: datetime
    users: tuple[str, ...]


class Session(Struct, frozen=True):
    """A user on a host, as far as it was observed: from the first sight to the last without a gap."""

    user: str
    node: str
    first: datetime
    last: datetime


class Sight(Struct, frozen=True):
    """When a job was first seen waiting and first seen running or finished; None: never."""

    job: str
    idle: datetime | None
    started: datetime | None


class Waits(Struct, frozen=True):
    """How long jobs waited, in seconds, as exact as jobs are observed often. None without jobs."""

    jobs: int
    still_waiting: int
    p50_seconds: float | None
    p90_seconds: float | None
    longest_seconds: float | None
