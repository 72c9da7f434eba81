"""Pods that began and vanished while nobody listened: what the API server's events still tell of them.

Events outlive the pod that they are of, by an hour unless the API server is told otherwise (`--event-ttl`). They hold
neither what the pod asked for nor whose it was, so no record can be made of them, but the pod is named. The kubelet
tells of each container that it starts with the reason `Started` (core/v1 Event, Kubernetes 1.20).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

import msgspec

from jobmeter.contract import Refused
from jobmeter.observe.kubernetes import wire

STARTED = "involvedObject.kind=Pod,reason=Started"
"""Which events are asked for, as a field selector."""

_event = msgspec.json.Decoder(wire.Event).decode


def missed(
    events: Iterable[bytes], since: datetime, until: datetime, is_known: Callable[[wire.Involved], bool]
) -> list[Refused]:
    """The pods of which a container started in a time and of which nothing else is known, each once."""
    found: dict[str, Refused] = {}
    for raw in events:
        try:
            event = _event(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue  # of which pod it is cannot be told, and whether it is of one that was missed
        moment = event.last_timestamp or event.event_time or event.first_timestamp
        pod = event.involved_object
        if moment is None or not since < moment <= until or not pod.uid or pod.uid in found or is_known(pod):
            continue
        found[pod.uid] = Refused(
            raw.decode("utf-8", "replace"),
            f"the pod {pod.namespace}/{pod.name} ({pod.uid}) started at {_text(moment)} and was gone when all were "
            f"listed again: nobody listened from {_text(since)} to {_text(until)}",
        )
    return list(found.values())


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
