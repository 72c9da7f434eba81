"""A span of time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from msgspec import Struct


class Period(Struct, frozen=True):
    """From `start` (included) to `stop` (excluded), both aware."""

    start: datetime
    stop: datetime

    def slices(self, width: timedelta) -> Iterator[Period]:
        """The period cut into consecutive pieces of `width`, the last one shorter where it does not fit."""
        start = self.start
        while start < self.stop:
            stop = min(start + width, self.stop)
            yield Period(start, stop)
            start = stop
