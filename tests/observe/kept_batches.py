"""A sender that keeps what an agent gives it."""

from __future__ import annotations

from collections.abc import Mapping

from jobmeter.model.sample import SampleBatch


class KeptBatches:
    """All batches, in order."""

    def __init__(self) -> None:
        self.batches: list[SampleBatch] = []

    def offer(self, batch: SampleBatch) -> None:
        self.batches.append(batch)

    def counts(self) -> Mapping[str, int]:
        return {}

    def close(self, linger_seconds: float) -> None:
        """Nothing to close."""
