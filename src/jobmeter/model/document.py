"""A facility document: one observation of the facility, to be sent as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TypeAlias

from msgspec import Struct

JsonValue: TypeAlias = "str | int | float | bool | Sequence[JsonValue] | Mapping[str, JsonValue] | None"


class Document(Struct, frozen=True):
    """`kind` names the document type, `body` its fields as they will be sent, `observed` when they were true.

    `identity` names what must be told once only, such as the end of a job; without one, each observation is its own.
    """

    kind: str
    cluster: str
    observed: datetime
    body: Mapping[str, JsonValue]
    identity: str | None = None
