"""The options of the spool and of the delivery."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct


class SpoolSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How much the spool may hold, how long, and what happens at its bounds."""

    max_bytes: Annotated[
        int,
        Meta(ge=1, description="How many bytes of encoded records may wait for delivery; one batch may exceed it."),
    ] = 2**30
    when_full: Annotated[
        Literal["wait", "drop_oldest"],
        Meta(
            description="At the bound: wait (collect no more until some is delivered) or drop_oldest (lose and count)."
        ),
    ] = "wait"
    max_age_days: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="Drop and count what waited longer than this; without it, nothing is dropped."),
    ] = None
    reserve_bytes: Annotated[
        int, Meta(ge=0, description="Free space of the disk that collecting leaves alone, so that delivery can go on.")
    ] = 32 * 2**20
    seen_days: Annotated[
        float, Meta(gt=0, description="How long a record is remembered after it was last collected, to tell repeats.")
    ] = 45
    letters_max: Annotated[
        int, Meta(ge=1, description="How many dead letters are kept; the oldest go first, and are counted.")
    ] = 100_000
    letter_bytes: Annotated[
        int, Meta(ge=1, description="How much is kept of an unreadable entry of a source, in bytes.")
    ] = 2**20
    lease_seconds: Annotated[
        float, Meta(gt=0, description="How long entries taken for delivery stay away from other deliverers.")
    ] = 300
    busy_seconds: Annotated[
        float, Meta(ge=0, description="How long to wait for another process that writes the spool.")
    ] = 30


class BackoffSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How long to wait after a failed delivery."""

    first_seconds: Annotated[
        float, Meta(gt=0, description="Upper bound of the first wait; it doubles with each failure.")
    ] = 1
    longest_seconds: Annotated[float, Meta(gt=0, description="The upper bound grows no further than this.")] = 300
    asked_longest_seconds: Annotated[
        float, Meta(ge=0, description="The longest delay asked for by the receiver that is honoured.")
    ] = 3600
