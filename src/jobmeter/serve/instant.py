"""Questions about an instant: only of what was, never of what is to come."""

from __future__ import annotations

from jobmeter.contract import Clock
from jobmeter.model.record import microseconds
from jobmeter.query.fault import BadQuery


def check_instant(as_of_us: int | None, clock: Clock) -> None:
    """Raises BadQuery for an instant that has not come."""
    if as_of_us is not None and as_of_us > microseconds(now := clock.now()):
        raise BadQuery("as_of", f"lies in the future: it is {now:%Y-%m-%dT%H:%M:%SZ}")
