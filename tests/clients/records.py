"""Records as plain values, in the shape of the clients' JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Any


def record(record_id: str, **changes: Any) -> dict[str, Any]:
    """A small record; times are written with `+00:00`, as Python writes them."""
    return {
        "record_id": record_id,
        "start_time": "2024-03-01T12:00:00+00:00",
        "stop_time": None,
        "meta": None,
        "components": [],
        **changes,
    }


def component(name: str, amount: int, **scores: float) -> dict[str, Any]:
    """A component with its scores."""
    return {
        "name": name,
        "amount": amount,
        "scores": [{"name": score, "value": value} for score, value in scores.items()],
    }


def understood(written: dict[str, Any]) -> dict[str, Any]:
    """The record as a client shows it after reading it back: naive UTC times, the runtime in whole seconds."""
    start = datetime.fromisoformat(written["start_time"])
    stop = None if written["stop_time"] is None else datetime.fromisoformat(written["stop_time"])
    return {
        **written,
        "start_time": start.replace(tzinfo=None).isoformat(),
        "stop_time": None if stop is None else stop.replace(tzinfo=None).isoformat(),
        "runtime": None if stop is None else int((stop - start).total_seconds()),
    }
