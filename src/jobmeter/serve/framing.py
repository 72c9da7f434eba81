"""How a list of records is framed: JSON lines, or one JSON array for those who need it.

AUDITOR's clients up to 0.8 can read nothing but an array, those from 0.9 nothing but objects one after another, and
both say `Accept: */*`; they are told apart by their user agent. Anyone else gets an array by naming `application/json`
in `Accept` without a wildcard and without a type of JSON lines beside it, and lines otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from jobmeter.serve.answer import JSON, Header

JSON_LINES = b"application/x-ndjson"

_ARRAY_CLIENTS = re.compile(rb"auditor/0\.[45]\.|auditor-client/0\.[678]\.")
_LINE_TYPES = frozenset({b"application/x-ndjson", b"application/ndjson", b"application/jsonl"})
_WILDCARDS = frozenset({b"*/*", b"application/*"})


class Framing:
    """Lines, as the store gives them."""

    last = b""

    def __init__(self, content_type: bytes = JSON) -> None:
        self.content_type = content_type

    def first(self, piece: bytes) -> bytes:
        """The beginning of the body, with the first piece (empty when there are no records)."""
        return piece

    def further(self, piece: bytes) -> bytes:
        """A later piece (empty at the end)."""
        return piece


class ArrayFraming(Framing):
    """One JSON array. Every line of a piece is a whole record, and no record holds a line break."""

    last = b"]"

    def first(self, piece: bytes) -> bytes:
        """`[` and the records with commas between them."""
        return b"[" + _commas(piece)

    def further(self, piece: bytes) -> bytes:
        """A comma and the records with commas between them."""
        return b",\n" + _commas(piece) if piece else b""


def framing_for(headers: Sequence[Header]) -> Framing:
    """The framing that the client needs, by its user agent and its Accept."""
    accept = b""
    for name, value in headers:
        if name == b"user-agent" and _ARRAY_CLIENTS.match(value):
            return ArrayFraming()
        if name == b"accept":
            accept += b"," + value
    accepted = {part.partition(b";")[0].strip().lower() for part in accept.split(b",")}
    if accepted & _LINE_TYPES:
        return Framing(JSON_LINES)
    if JSON in accepted and not accepted & _WILDCARDS:
        return ArrayFraming()
    return Framing()


def _commas(lines: bytes) -> bytes:
    return lines.removesuffix(b"\n").replace(b"\n", b",\n")
