"""How a list of records is framed: JSON lines, or one JSON array for those who need it.

AUDITOR's clients up to 0.8 can read nothing but an array, those from 0.9 nothing but objects one after another, and
both say `Accept: */*`; they are told apart by their user agent. Anyone else gets an array by naming `application/json`
in `Accept` without a wildcard and without a type of JSON lines beside it, and lines otherwise.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from jobmeter.serve.answer import JSON, Header
from jobmeter.wire.record_csv import FOUND, found_columns, write_csv, write_rows

JSON_LINES = b"application/x-ndjson"
CSV = b"text/csv; charset=utf-8; header=present"

_decode_lines = msgspec.json.Decoder(dict[str, Any]).decode_lines
_ARRAY_CLIENTS = re.compile(rb"auditor/0\.[45]\.|auditor-client/0\.[678]\.")
_LINE_TYPES = frozenset({b"application/x-ndjson", b"application/ndjson", b"application/jsonl"})
_WILDCARDS = frozenset({b"*/*", b"application/*"})


class Framing:
    """Lines, as the store gives them."""

    last = b""

    def __init__(self, content_type: bytes = JSON) -> None:
        self.content_type = content_type

    def recoded(self, piece: bytes) -> bytes:
        """A piece of lines (never empty) in the form of this framing. Called in order, in the thread of the answer."""
        return piece

    def first(self, piece: bytes) -> bytes:
        """The beginning of the body, with the first recoded piece (empty when there are no records)."""
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


class CsvFraming(Framing):
    """CSV with a row of heads, also where there are no records. The columns `("found",)` are those of the first piece.

    A line of heads can only stand before all rows, so a key that only later records have has no column of its own.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        super().__init__(CSV)
        self._columns: Sequence[str] | None = None if tuple(columns) == (FOUND,) else columns

    def recoded(self, piece: bytes) -> bytes:
        """The rows of the records."""
        records = _decode_lines(piece)
        if self._columns is None:
            self._columns = found_columns(records)
        output = io.StringIO()
        write_rows(records, self._columns, output)
        return output.getvalue().encode()

    def first(self, piece: bytes) -> bytes:
        """The heads and the first rows."""
        output = io.StringIO()
        write_csv([], found_columns([]) if self._columns is None else self._columns, output)
        return output.getvalue().encode() + piece


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
