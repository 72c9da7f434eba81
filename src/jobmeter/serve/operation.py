"""What one operation of the server is, as data."""

from __future__ import annotations

from enum import Enum
from typing import Any

from msgspec import Struct


class Kind(Enum):
    """How a body is written."""

    JSON = "application/json"
    LINES = "application/x-ndjson"
    PARQUET = "application/vnd.apache.parquet"
    TEXT = "text/plain"
    HTML = "text/html"
    CSV = "text/csv"
    EVENTS = "text/event-stream"


class Reply(Struct, frozen=True):
    """One answer of an operation: the types that its body may have (none: the body is empty)."""

    status: int
    says: str
    types: tuple[Any, ...] = ()
    kinds: tuple[Kind, ...] = (Kind.JSON,)


class Operation(Struct, frozen=True):
    """One method of one path. `body` is the type of the request's body."""

    method: str
    path: str
    name: str
    summary: str
    replies: tuple[Reply, ...]
    body: Any = None
    body_kinds: tuple[Kind, ...] = (Kind.JSON,)
    parameters: tuple[str, ...] = ()
