"""The settings of a sample store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

DAY_NS = 86_400 * 10**9


class SampleBounds(Struct, frozen=True):
    """How much a sample store keeps, and how much memory its writer takes."""

    raw_days: Annotated[float, Meta(gt=0, description="Samples are kept as they came for this long.")] = 30
    minute_days: Annotated[
        float, Meta(gt=0, description="Means, extremes and increases per minute are kept so long.")
    ] = 400
    hour_days: Annotated[float, Meta(gt=0, description="The same per hour are kept so long.")] = 3650
    max_bytes: Annotated[
        int, Meta(ge=2**20, description="The segments together take no more; the oldest samples go first.")
    ] = 100 * 2**30
    head_bytes: Annotated[
        int, Meta(ge=2**20, description="About so much memory holds samples that are in no segment yet.")
    ] = 64 * 2**20
    seal_seconds: Annotated[float, Meta(gt=0, description="After this time they are put into one in any case.")] = 900

    @property
    def head_values(self) -> int:
        """How many values are held in memory; one takes about ten bytes."""
        return self.head_bytes // 10


class SampleStoreSettings(Struct, frozen=True):
    """Where the samples lie, and how much of them is kept."""

    path: Annotated[Path | None, Meta(description="Folder of the sample store; without it there is none.")] = None
    bounds: Annotated[SampleBounds, Meta(description="How much is kept.")] = SampleBounds()
