"""What became of one record that was written."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class RecordOutcome(Struct, frozen=True):
    """What became of one record: `new`, `same` (a repeat), `conflict`, `invalid`, `forbidden`, these with a reason."""

    record_id: str
    outcome: Literal["new", "same", "conflict", "invalid", "forbidden"]
    field: str | None = None
    reason: str | None = None

    @property
    def stored(self) -> bool:
        """Whether the server holds this record."""
        return self.outcome in ("new", "same")
