"""Counters that a person or a driver may set back to zero, put together so that they only grow."""

from __future__ import annotations

from collections.abc import Sequence


class Rising:
    """Remembers, by key, the last values and what was counted before they were set back."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[int, ...]] = {}
        self._before: dict[str, tuple[int, ...]] = {}

    def total(self, key: str, values: Sequence[int]) -> tuple[int, ...]:
        """The values with all that was counted before the last set-back."""
        last = self._last.get(key)
        now = tuple(values)
        self._last[key] = now
        before = self._before.get(key, (0,) * len(now))
        if last is not None and any(new < old for new, old in zip(now, last, strict=True)):
            before = tuple(kept + (old if new < old else 0) for kept, old, new in zip(before, last, now, strict=True))
            self._before[key] = before
        return tuple(kept + new for kept, new in zip(before, now, strict=True))
