"""When a pod ended: what its containers say, else the next best, and which of them it was."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec import Struct

from jobmeter.observe.kubernetes.pod import Pod

StopSource = Literal["containers", "conditions", "deletion", "seen", "last_seen"]
"""Whence a stop time is, best first. `containers`: the last of them finished then. `conditions`: the pod ceased to be
ready then. `deletion`: it was to be gone by then. `seen`: the watch told of the end then. `last_seen`: it still ran
then, and was gone when the API server could be asked again."""


class Ending(Struct, frozen=True):
    """When a pod stopped, and whence that is known."""

    stop: datetime
    source: StopSource


def by_containers(pod: Pod) -> Ending | None:
    """The end as the containers tell it, or None while they do not."""
    stop = pod.containers_ended()
    return None if stop is None else Ending(stop, "containers")


def by_conditions(pod: Pod) -> Ending | None:
    """The end as the conditions of a pod that ended tell it. One that was never ready tells nothing by that."""
    began = [each.began for each in pod.containers if each.began is not None]
    since = max(began, default=pod.start)
    if pod.unready is None or since is None or pod.unready <= since:
        return None
    return Ending(pod.unready, "conditions")


def settled(pod: Pod, fallback: Ending | None) -> Ending | None:
    """The end by the best that is known by now; `fallback` is the moment that the watch itself tells of, if any."""
    if (known := by_containers(pod) or (by_conditions(pod) if pod.has_ended else None)) is not None:
        return known
    if fallback is not None and pod.deletes_at is not None and pod.deletes_at < fallback.stop:
        return Ending(pod.deletes_at, "deletion")
    return fallback


def when_vanished(pod: Pod, last_seen: datetime) -> Ending:
    """The end of a pod that ran at `last_seen` and was gone at the next look."""
    return by_containers(pod) or Ending(last_seen, "last_seen")
