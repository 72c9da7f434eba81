"""The parts of the API's objects that are read, as the API server spells them (core/v1 Pod, meta/v1 Status).

Anything may be null or missing: a Go server writes an empty list either way, and old kubelets wipe parts of a status.
"""

from __future__ import annotations

from datetime import datetime

import msgspec
from msgspec import Struct, field

Quantities = dict[str, str | int | float]


class _Wire(Struct, frozen=True, rename="camel"):
    pass


class Owner(_Wire, frozen=True):
    """One entry of ownerReferences."""

    kind: str = ""
    name: str = ""
    controller: bool | None = None


class Metadata(_Wire, frozen=True):
    """What names and dates an object."""

    name: str
    namespace: str
    uid: str
    resource_version: str = ""
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: tuple[Owner, ...] | None = None
    deletion_timestamp: datetime | None = None


class Resources(_Wire, frozen=True):
    """What was asked for and what is allowed."""

    requests: Quantities | None = None
    limits: Quantities | None = None


class ContainerSpec(_Wire, frozen=True):
    """A container as it was asked for. An init container with `restartPolicy: Always` runs beside the others."""

    name: str
    resources: Resources | None = None
    restart_policy: str | None = None


class Spec(_Wire, frozen=True):
    """A pod as it was asked for."""

    containers: tuple[ContainerSpec, ...] | None = None
    init_containers: tuple[ContainerSpec, ...] | None = None
    overhead: Quantities | None = None
    resources: Resources | None = None
    node_name: str | None = None


class Terminated(_Wire, frozen=True):
    """A container that ended."""

    exit_code: int | None = None
    reason: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None


class Running(_Wire, frozen=True):
    """A container that runs."""

    started_at: datetime | None = None


class Waiting(_Wire, frozen=True):
    """A container that does not run yet, or between two runs."""

    reason: str | None = None


class State(_Wire, frozen=True):
    """One of three."""

    running: Running | None = None
    terminated: Terminated | None = None
    waiting: Waiting | None = None


class ContainerStatus(_Wire, frozen=True):
    """A container as it is."""

    name: str
    state: State | None = None
    last_state: State | None = None
    resources: Resources | None = None


class Condition(_Wire, frozen=True):
    """A condition and since when it is what it is."""

    type: str = ""
    status: str = ""
    last_transition_time: datetime | None = None


class Status(_Wire, frozen=True):
    """A pod as it is."""

    phase: str = ""
    reason: str | None = None
    start_time: datetime | None = None
    conditions: tuple[Condition, ...] | None = None
    container_statuses: tuple[ContainerStatus, ...] | None = None
    init_container_statuses: tuple[ContainerStatus, ...] | None = None


class PodObject(_Wire, frozen=True):
    """A pod."""

    metadata: Metadata
    spec: Spec | None = None
    status: Status | None = None


class _Versioned(_Wire, frozen=True):
    resource_version: str = ""


class Bookmark(_Wire, frozen=True):
    """Any object, of which only the version counts."""

    metadata: _Versioned = _Versioned()


class _Identified(_Wire, frozen=True):
    uid: str


class Named(_Wire, frozen=True):
    """Any object, of which only the identity counts."""

    metadata: _Identified


class ListMetadata(_Wire, frozen=True):
    """Of which version a list is, and where it goes on."""

    resource_version: str = ""
    continue_: str | None = field(name="continue", default=None)


class PodList(_Wire, frozen=True):
    """One page of a list; each item is read by itself, so that an odd one spoils no other."""

    metadata: ListMetadata
    items: list[msgspec.Raw] | None = None


class Involved(_Wire, frozen=True):
    """What an event is of."""

    namespace: str = ""
    name: str = ""
    uid: str = ""


class Event(_Wire, frozen=True):
    """What a component told of an object, once or several times."""

    involved_object: Involved = Involved()
    first_timestamp: datetime | None = None
    last_timestamp: datetime | None = None
    event_time: datetime | None = None


class WatchEvent(_Wire, frozen=True):
    """One line of a watch."""

    type: str
    object: msgspec.Raw


class Refusal(_Wire, frozen=True):
    """The API's Status object, which says why something was not done."""

    code: int | None = None
    reason: str | None = None
    message: str | None = None
