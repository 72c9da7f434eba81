"""The answer of `POST /v2/records`: what became of each record of the body, in order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
from msgspec import Struct


class BadVerdicts(ValueError):  # noqa: N818 - what it is, not that it is an error
    """A body that is no such answer; the message says where it departs."""


VerdictName = Literal["new", "same", "conflict", "invalid", "forbidden"]


class Verdict(Struct, frozen=True, omit_defaults=True):
    """What the server did with one record; `field` and `reason` are given for the last three outcomes."""

    outcome: VerdictName
    field: str | None = None
    reason: str | None = None


class Verdicts(Struct):
    """One outcome per record of the body, in its order."""

    outcomes: list[Verdict]


_decode = msgspec.json.Decoder(Verdicts).decode
_encode = msgspec.json.Encoder().encode


def encode_verdicts(verdicts: Sequence[Verdict]) -> bytes:
    """The answer that tells `verdicts`."""
    return _encode(Verdicts(list(verdicts)))


def decode_verdicts(body: bytes) -> list[Verdict]:
    """The verdicts in the body of an answer. Raises BadVerdicts."""
    try:
        return _decode(body).outcomes
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as fault:
        raise BadVerdicts(str(fault)) from None
