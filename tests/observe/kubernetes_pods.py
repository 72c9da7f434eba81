"""Pods as an API server gives them, written short."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
_uids = itertools.count(1)


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def ago(seconds: float) -> str:
    return stamp(NOW - timedelta(seconds=seconds))


def terminated(began: str, ended: str | None, reason: str = "Completed") -> dict[str, Any]:
    return {"terminated": {"exitCode": 0, "reason": reason, "startedAt": began, "finishedAt": ended}}


def running(began: str) -> dict[str, Any]:
    return {"running": {"startedAt": began}}


def pod(
    name: str,
    phase: str = "Succeeded",
    *,
    namespace: str = "jobs",
    began: float = 600,
    ended: float | None = 60,
    states: Iterable[dict[str, Any]] | None = None,
    limits: dict[str, str] | None = None,
    status: dict[str, Any] | None = None,
    metadata: dict[str, Any] | None = None,
    spec: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """A pod that began and ended some seconds before NOW, with one container unless `states` gives more."""
    if states is None:
        if phase in ("Succeeded", "Failed"):
            states = [terminated(ago(began), None if ended is None else ago(ended))]
        else:
            states = [running(ago(began))] if phase == "Running" else []
    given = list(states)
    resources = {"limits": {"cpu": "500m", "memory": "64Mi"} if limits is None else limits}
    names = [f"c{number}" for number in range(max(1, len(given)))]
    return {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": f"{next(_uids):08}-0000-4000-8000-000000000000",
            **(metadata or {}),
        },
        "spec": {"nodeName": "n1", "containers": [{"name": each, "resources": resources} for each in names]}
        | (spec or {}),
        "status": {
            "phase": phase,
            "startTime": ago(began + 1),
            "containerStatuses": [{"name": each, "state": state} for each, state in zip(names, given, strict=False)],
            **(status or {}),
        },
    }


def changed(before: dict[str, Any], phase: str, **more: Any) -> dict[str, Any]:
    """The same pod, later."""
    after = pod(before["metadata"]["name"], phase, namespace=before["metadata"]["namespace"], **more)
    after["metadata"]["uid"] = before["metadata"]["uid"]
    return after
