"""The core of a record: its body without what stands in columns of the row, which is a fifth of the bytes.

A core is the middle of a body, the part from `"meta"` to the end of `"components"`. The database makes the body again,
byte by byte, whenever `records.body` is read: SQLite by a column that is computed, PostgreSQL by a function that is
called like a column, so there it has to be written `records.body`. A record that the columns would not give back
exactly is kept whole: its core is its body, and begins with `{`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Column, Computed, Text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import CreateColumn

from jobmeter.model.record import Record, from_microseconds
from jobmeter.wire.auditor import encode_middles, encode_record

KEY_LIMIT_BYTES = 1024
"""Longer ids get a shortened key: an index entry of PostgreSQL holds at most 2,704 bytes, a name has no such limit."""

_SECOND_US = 1_000_000
_SQLITE_MOMENT = "replace(datetime({} / 1000000, 'unixepoch'), ' ', 'T')"
"""Half as dear as `strftime`."""

BODY_SQLITE = (
    "CASE WHEN core >= '{{' THEN core ELSE '{{\"record_id\":\"' || record_id || '\",' || core || "
    '(\',"start_time":"\' || {start} || CASE WHEN stop_us IS NULL THEN \'Z","stop_time":null,"runtime":null}}\' '
    'ELSE \'Z","stop_time":"\' || {stop} || \'Z","runtime":\' || ((stop_us - start_us) / 1000000) || \'}}\' END) END'
).format(start=_SQLITE_MOMENT.format("start_us"), stop=_SQLITE_MOMENT.format("stop_us"))
"""The body as SQLite computes it."""

_POSTGRESQL_MOMENT = "to_char(to_timestamp({} / 1000000) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS')"
_POSTGRESQL_BODY = (
    "CASE WHEN substr($1.core, 1, 1) = '{{' THEN $1.core ELSE '{{\"record_id\":\"' || $1.record_id || '\",' || $1.core "
    '|| (\',"start_time":"\' || {start} || CASE WHEN $1.stop_us IS NULL THEN \'Z","stop_time":null,"runtime":null}}\' '
    'ELSE \'Z","stop_time":"\' || {stop} || \'Z","runtime":\' || (($1.stop_us - $1.start_us) / 1000000) || \'}}\' END) '
    "END"
).format(start=_POSTGRESQL_MOMENT.format("$1.start_us"), stop=_POSTGRESQL_MOMENT.format("$1.stop_us"))
BODY_FUNCTION = (
    f"CREATE FUNCTION body(records) RETURNS text LANGUAGE sql STABLE AS $body$SELECT {_POSTGRESQL_BODY}$body$"
)
"""What makes `records.body` in PostgreSQL. It is inlined into the statements that read it."""


def body_column() -> Column[str]:
    """The column that is read and never written."""
    return Column("body", Text, Computed(BODY_SQLITE.replace(":", "\\:"), persisted=False))


@compiles(CreateColumn, "postgresql")
def _create(create: CreateColumn, compiler: Any, **options: Any) -> str | None:
    """A table of PostgreSQL gets no column for what is computed: a function does it."""
    if create.element.computed is not None:
        return None
    found: str | None = compiler.visit_create_column(create, **options)
    return found


def cores_of(
    records: Sequence[Record], keys: Sequence[str], starts: Sequence[int], stops: Sequence[int | None]
) -> list[bytes]:
    """The cores of records that are to be stored. Raises UnicodeEncodeError where one has half a surrogate pair."""
    cores = encode_middles(records)
    for place, row in enumerate(zip(keys, starts, stops, strict=True)):
        if not _is_regular(*row):
            cores[place] = encode_record(records[place])
    return cores


def core_in(body: bytes, key: str, start_us: int, stop_us: int | None) -> bytes:
    """The core of a body that is to be stored."""
    if not _is_regular(key, start_us, stop_us):
        return body
    stop, runtime = "null", "null"
    if stop_us is not None:
        stop, runtime = f'"{_moment(stop_us)}"', str((stop_us - start_us) // _SECOND_US)
    head = f'{{"record_id":"{key}",'.encode()
    tail = f',"start_time":"{_moment(start_us)}","stop_time":{stop},"runtime":{runtime}}}'.encode()
    return body[len(head) : -len(tail)] if body.startswith(head) and body.endswith(tail) else body


def json_of(core: bytes) -> bytes:
    """A JSON object with the meta and the components of a core."""
    return core if core.startswith(b"{") else b"{" + core + b"}"


def json_of_all(cores: Sequence[bytes]) -> Sequence[bytes]:
    """`json_of` of each; bodies stay as they are, too."""
    if max(cores, default=b"") < b"{":
        return [b"{%b}" % core for core in cores]
    return list(map(json_of, cores))


def _is_regular(key: str, start_us: int, stop_us: int | None) -> bool:
    """Whether the id stands in JSON as it is, and the times are whole seconds since 1970."""
    return (
        start_us >= 0
        and start_us % _SECOND_US == 0
        and (stop_us is None or (stop_us >= 0 and stop_us % _SECOND_US == 0))
        and key.isascii()
        and key.isprintable()
        and '"' not in key
        and "\\" not in key
        and len(key) <= KEY_LIMIT_BYTES
    )


def _moment(us: int) -> str:
    return from_microseconds(us).strftime("%Y-%m-%dT%H:%M:%SZ")
