"""A pod, cut down to what makes a record; small enough to be remembered while the pod runs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

import msgspec
from msgspec import Struct

from jobmeter.model.record import EPOCH
from jobmeter.observe.kubernetes import wire
from jobmeter.observe.shape.values import Unreadable

_decode = msgspec.json.Decoder(wire.PodObject).decode
_ENDED = ("Succeeded", "Failed")
_UNREADY = ("Ready", "ContainersReady")


class Container(Struct, frozen=True, omit_defaults=True):
    """A container: `began` and `ended` of its last run, None where the status does not say.

    `state` is "running", "terminated", "waiting", or "" where there is no status of it.
    """

    name: str
    state: str = ""
    began: datetime | None = None
    ended: datetime | None = None
    reason: str = ""
    requests: dict[str, str] = {}
    limits: dict[str, str] = {}
    beside: bool = False

    @property
    def has_run(self) -> bool:
        """Whether it ran at any time, as far as its status says."""
        return self.began is not None or self.state in ("running", "terminated")


class Pod(Struct, frozen=True, omit_defaults=True):
    """A pod in one moment.

    `deletes_at` is when it is to be gone at the latest, `unready` since when it is not ready.
    """

    namespace: str
    name: str
    uid: str
    phase: str
    start: datetime | None = None
    reason: str = ""
    node: str = ""
    owner_kind: str = ""
    owner_name: str = ""
    containers: tuple[Container, ...] = ()
    init: tuple[Container, ...] = ()
    overhead: dict[str, str] = {}
    requests: dict[str, str] = {}
    limits: dict[str, str] = {}
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    unready: datetime | None = None
    deletes_at: datetime | None = None

    @property
    def has_ended(self) -> bool:
        """Whether nothing of it will run again."""
        return self.phase in _ENDED

    @property
    def has_run(self) -> bool:
        """Whether any container ran, as far as its status says."""
        return any(container.has_run for container in (*self.containers, *self.init))

    def containers_ended(self) -> datetime | None:
        """When its last container ended, or None while that is not known of all that ran.

        Containers that never began do not count; where none of them began, init containers do.
        """
        for group in (self.containers, self.init):
            began = [container for container in group if container.state != "waiting" or container.has_run]
            if began:
                ends = [each.ended for each in began if each.state == "terminated" and each.ended is not None]
                return max(ends) if len(ends) == len(began) else None
        return None

    def with_history(self, earlier: Pod | None) -> Pod:
        """This pod, with what only an earlier moment knew: kubelets wipe the status of pods that they evict."""
        if earlier is None:
            return self
        return msgspec.structs.replace(
            self,
            start=self.start or earlier.start,
            node=self.node or earlier.node,
            deletes_at=self.deletes_at or earlier.deletes_at,
            containers=_remembered(self.containers, earlier.containers),
            init=_remembered(self.init, earlier.init),
        )


def parse(raw: bytes, labels: Collection[str] = (), annotations: Collection[str] = ()) -> Pod:
    """The pod in a JSON object, with those of its labels and annotations that are named. Raises Unreadable."""
    try:
        found = _decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as fault:
        raise Unreadable(f"is not a pod: {fault}") from None
    metadata, spec, status = found.metadata, found.spec or wire.Spec(), found.status or wire.Status()
    if not (metadata.name and metadata.namespace and metadata.uid):
        raise Unreadable("has no name, no namespace or no uid")
    owners = metadata.owner_references or ()
    owner = next((each for each in owners if each.controller), owners[0] if owners else wire.Owner())
    own = spec.resources or wire.Resources()
    return Pod(
        namespace=metadata.namespace,
        name=metadata.name,
        uid=metadata.uid,
        phase=status.phase,
        start=_known(status.start_time),
        reason=status.reason or "",
        node=spec.node_name or "",
        owner_kind=owner.kind,
        owner_name=owner.name,
        containers=_containers(spec.containers, status.container_statuses),
        init=_containers(spec.init_containers, status.init_container_statuses),
        overhead=_texts(spec.overhead),
        requests=_texts(own.requests),
        limits=_texts(own.limits),
        labels=_chosen(metadata.labels, labels),
        annotations=_chosen(metadata.annotations, annotations),
        unready=_unready(status.conditions or ()),
        deletes_at=_known(metadata.deletion_timestamp),
    )


def _containers(
    specs: Iterable[wire.ContainerSpec] | None, statuses: Iterable[wire.ContainerStatus] | None
) -> tuple[Container, ...]:
    by_name = {status.name: status for status in statuses or ()}
    return tuple(_container(spec, by_name.get(spec.name)) for spec in specs or ())


def _container(spec: wire.ContainerSpec, status: wire.ContainerStatus | None) -> Container:
    resources = (status.resources if status is not None else None) or spec.resources or wire.Resources()
    state = (status.state if status is not None else None) or wire.State()
    last = (status.last_state if status is not None else None) or wire.State()
    name, ended, began, reason = "", None, None, ""
    if state.terminated is not None:
        name, reason = "terminated", state.terminated.reason or ""
        began, ended = _known(state.terminated.started_at), _known(state.terminated.finished_at)
    elif state.running is not None:
        name, began = "running", _known(state.running.started_at)
    elif state.waiting is not None:
        name = "waiting"
        # Between two runs of a container that is restarted, the run before is what there is.
        if last.terminated is not None:
            name, reason = "terminated", last.terminated.reason or ""
            began, ended = _known(last.terminated.started_at), _known(last.terminated.finished_at)
    return Container(
        name=spec.name,
        state=name,
        began=began,
        ended=ended,
        reason=reason,
        requests=_texts(resources.requests),
        limits=_texts(resources.limits),
        beside=spec.restart_policy == "Always",
    )


def _remembered(now: tuple[Container, ...], before: tuple[Container, ...]) -> tuple[Container, ...]:
    by_name = {container.name: container for container in before}
    merged = [
        by_name.get(each.name, each) if not each.state else _with_begin(each, by_name.get(each.name)) for each in now
    ]
    return tuple(merged) or before


def _with_begin(now: Container, before: Container | None) -> Container:
    if now.began is not None or before is None or before.began is None:
        return now
    return msgspec.structs.replace(now, began=before.began, state=now.state if now.state != "waiting" else before.state)


def _unready(conditions: Iterable[wire.Condition]) -> datetime | None:
    """Since when the pod is not ready: once it ended, that is when its last container stopped serving."""
    times = (
        _known(each.last_transition_time) for each in conditions if each.type in _UNREADY and each.status == "False"
    )
    return max((time for time in times if time is not None), default=None)


def _known(moment: datetime | None) -> datetime | None:
    """A moment of the API; 1970 and before, and times without a zone, stand for none."""
    return moment if moment is not None and moment.tzinfo is not None and moment > EPOCH else None


def _texts(quantities: Mapping[str, str | int | float] | None) -> dict[str, str]:
    return {name: str(value) for name, value in (quantities or {}).items()}


def _chosen(texts: Mapping[str, str] | None, names: Collection[str]) -> dict[str, str]:
    return {name: texts[name] for name in names if name in texts} if texts else {}
