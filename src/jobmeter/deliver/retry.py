"""Back-off: how long to wait before the next try."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from jobmeter.deliver.settings import BackoffSettings


class Backoff(Struct, frozen=True):
    """Exponential back-off with full jitter: a wait is drawn evenly from zero to a bound that doubles per failure.

    `chance` gives a number from 0 to 1, such as `random.random`. Full jitter keeps many deliverers that failed
    together from coming back together.
    """

    settings: BackoffSettings
    chance: Callable[[], float]

    def delay_seconds(self, failures: int, asked_seconds: float = 0.0) -> float:
        """The wait after `failures` (1 or more) in a row, not shorter than the receiver asked for."""
        # 2**64 is far beyond any bound: the exponent is cut so that a year of failures does not overflow a float.
        bound = min(self.settings.first_seconds * 2.0 ** min(failures - 1, 64), self.settings.longest_seconds)
        return max(self.chance() * bound, min(asked_seconds, self.settings.asked_longest_seconds))
