"""A dead letter: something that can never be delivered or stored as it is, kept with the reason."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct


class DeadLetter(Struct, frozen=True):
    """`body` is what was refused, as it came (cut at `size_bytes` when larger than the keeper's bound).

    `origin` names who sent it (a client address, a job source), `reason` is a sentence, the keeper gives `number`.
    """

    origin: str
    reason: str
    body: bytes
    received: datetime
    size_bytes: int
    number: int | None = None
