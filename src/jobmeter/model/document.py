"""A facility document: one observation of the facility, to be sent as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct

JsonValue = str | int | float | bool | None


class Document(Struct, frozen=True):
    """`kind` names the document type, `body` its fields as they will be sent, `observed` when they were true."""

    kind: str
    cluster: str
    observed: datetime
    body: Mapping[str, JsonValue]
