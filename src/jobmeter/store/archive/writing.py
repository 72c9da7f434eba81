"""Writes an archive file from rows of the database, and reads one back to prove that it holds them.

The proof is a digest over every number of insertion and every body, in order, taken once of what came from the database
and once of what the finished file gives back.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from jobmeter.store.archive.engine import Engine
from jobmeter.store.archive.ids import digest_of
from jobmeter.store.archive.layout import (
    VERSION,
    Census,
    Layout,
    body,
    component_column,
    from_shape,
    layout_of,
    meta_column,
)
from jobmeter.store.archive.shred import Shredder, take_census

Compression = Literal["zstd", "Gzip", "Snappy"]

GROUP_ROWS = 20_480
"""Rows of a row group, of which a question about a time reads few. More would save a twentieth of a file."""

BODY_CHARACTERS_MAX = 1_000_000
"""Longer bodies stay in the database: a row on its way holds each twice, escaped, within OBJECT_BYTES_MAX."""

OBJECT_BYTES_MAX = 16 * 2**20

LAYOUT_KEY = "jobmeter_layout"
BODY_KEY = "jobmeter_body"

_HEAD = struct.Struct("<qI")
_SPOOLED = struct.Struct("<qIq")
_SINCE = struct.Struct("<q")
_NEVER = -(2**63)
"""In place of a moment that is not known."""
_encode = msgspec.json.Encoder().encode


class FileFaulty(Exception):  # noqa: N818 - the name says the fact
    """The file does not hold what it should; the message says what was found."""


Row = tuple[int, int, int, str, bytes, int | None]
"""Seq, start and stop in microseconds, key, body, and since when it is stored so, where that is known."""


class Content:
    """A digest over rows in order, and how many there were."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self.rows = 0

    def add(self, seq: int, record_body: bytes, since_us: int | None) -> None:
        """The next row."""
        self._digest.update(_HEAD.pack(seq, len(record_body)))
        if since_us is not None:
            self._digest.update(_SINCE.pack(since_us))
        self._digest.update(record_body)
        self.rows += 1

    @property
    def hexdigest(self) -> str:
        """The digest of all rows so far."""
        return self._digest.hexdigest()


class Written(Struct, frozen=True):
    """A finished file: what is in it, and where the rows lie."""

    layout: Layout
    records: int
    whole: int
    size_bytes: int
    file_digest: str
    content_digest: str
    first_stop_us: int
    last_stop_us: int
    first_start_us: int
    last_seq: int
    digests: list[int]


class Spooled:
    """The rows of a file that is to be, kept on disk while its columns are chosen. `path` must not exist."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._census = Census()
        self.content = Content()
        self.digests: list[int] = []
        self.first_stop_us = self.last_stop_us = self.first_start_us = self.last_seq = 0
        self.end_seq = 0
        """The number of insertion of the last row."""

    def take(self, rows: Iterable[Row]) -> None:
        """Keep rows, in order of stop and seq."""
        with self._path.open("ab") as file:
            for seq, start_us, stop_us, key, record_body, since_us in rows:
                known_us = _NEVER if since_us is None else since_us
                file.write(_SPOOLED.pack(seq, len(record_body), known_us) + record_body)
                take_census(self._census, record_body)
                self._census.note_since(since_us)
                if not self.content.rows:
                    self.first_stop_us, self.first_start_us = stop_us, start_us
                self.first_start_us = min(self.first_start_us, start_us)
                self.last_stop_us, self.end_seq, self.last_seq = stop_us, seq, max(self.last_seq, seq)
                self.digests.append(digest_of(key))
                self.content.add(seq, record_body, since_us)

    def lines(self, layout: Layout) -> Iterator[bytes]:
        """The rows in the columns of `layout`, as JSON lines in pieces."""
        shredder = Shredder(layout)
        with self._path.open("rb") as file:
            pieces: list[bytes] = []
            while head := file.read(_SPOOLED.size):
                seq, length, since_us = _SPOOLED.unpack(head)
                row = shredder.row(seq, file.read(length))
                row["since_us"] = None if since_us == _NEVER else since_us
                pieces.append(_encode(row))
                if len(pieces) == 500:
                    yield b"\n".join([*pieces, b""])
                    pieces = []
            yield b"\n".join([*pieces, b""]) if pieces else b""

    @property
    def layout(self) -> Layout:
        """The columns for the rows that were taken."""
        return self._census.layout()


def write_file(engine: Engine, spooled: Spooled, path: Path, compression: Compression) -> Written:
    """Make `path` of the rows, force it to the disk, and read it back. Raises FileFaulty, OSError, StoreUnavailable."""
    layout = spooled.layout
    _copy(engine, spooled, layout, path, compression)
    _sync(path)
    content, whole = read_content(engine, path, layout)
    if (content.rows, content.hexdigest) != (spooled.content.rows, spooled.content.hexdigest):
        raise FileFaulty(
            f"{path.name} gives back {content.rows} records with digest {content.hexdigest[:16]}, "
            f"written were {spooled.content.rows} with {spooled.content.hexdigest[:16]}"
        )
    return Written(
        layout,
        content.rows,
        whole,
        path.stat().st_size,
        file_digest(path),
        content.hexdigest,
        spooled.first_stop_us,
        spooled.last_stop_us,
        spooled.first_start_us,
        spooled.last_seq,
        sorted(spooled.digests),
    )


def read_content(engine: Engine, path: Path, layout: Layout) -> tuple[Content, int]:
    """The digest of what a file gives back, and how many records are kept whole. Raises StoreUnavailable."""
    content = Content()
    whole = 0
    columns = f"seq, {body(layout)}, {layout.since_us}, whole IS NOT NULL"
    statement = f"SELECT {columns} FROM read_parquet(?)"  # noqa: S608 - columns, quoted
    for seq, record_body, since_us, kept_whole in engine.rows(statement, [str(path)]):
        content.add(seq, record_body.encode(), since_us)
        whole += kept_whole
    return content, whole


def file_digest(path: Path) -> str:
    """The SHA-256 of a file's bytes. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def layout_in(engine: Engine, path: Path) -> Layout | None:
    """The layout that a file says it has; None when it is no archive file of ours. Raises StoreUnavailable."""
    rows = engine.rows("SELECT value FROM parquet_kv_metadata(?) WHERE key = ?", [str(path), LAYOUT_KEY.encode()])
    for (value,) in rows:
        try:
            layout = layout_of(bytes(value).decode())
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None
        return layout if layout.version == VERSION else None
    return None


def _copy(engine: Engine, spooled: Spooled, layout: Layout, path: Path, compression: Compression) -> None:
    reading, writing = os.pipe()
    with engine.cursor() as cursor, ThreadPoolExecutor(1, "jobmeter-archive") as thread:
        feeding = thread.submit(_feed, spooled.lines(layout), writing)
        try:
            with engine.answering():
                cursor.execute(
                    _copy_statement(layout, compression),
                    {"source": f"/dev/fd/{reading}", "target": str(path)},
                )
        finally:
            os.close(reading)
        feeding.result()


def _feed(pieces: Iterable[bytes], descriptor: int) -> None:
    with suppress(BrokenPipeError), open(descriptor, "wb", buffering=0) as pipe:
        for piece in pieces:
            view = memoryview(piece)
            while view:
                view = view[pipe.write(view) :]


def _copy_statement(layout: Layout, compression: Compression) -> str:
    types = {"seq": "BIGINT", "head": "VARCHAR", "number": "BIGINT", "stop": "BIGINT", "stop_us": "INTEGER"}
    types |= {"runtime": "BIGINT", "runtime_us": "INTEGER", "shape": "VARCHAR", "body": "VARCHAR"}
    types |= {"since_us": "BIGINT"} if layout.dated else {}
    types |= {f"m{number}": "VARCHAR[]" for number in range(len(layout.meta))}
    for number, name in enumerate(layout.components):
        types[f"c{number}"] = "BOOLEAN" if name in layout.runtimes else "BIGINT"
    source = ", ".join(f"{column}: '{kind}'" for column, kind in types.items())
    named = ["seq", "head AS id_head", "number AS id_number", "stop AS stop_time", "stop_us AS stop_microseconds"]
    named += ["runtime", "runtime_us AS runtime_microseconds", *(["since_us"] if layout.dated else [])]
    named += [f"m{number} AS {meta_column(key)}" for number, key in enumerate(layout.meta)]
    named += [f"c{number} AS {component_column(name)}" for number, name in enumerate(layout.components)]
    # A row that its columns would not give back byte by byte is kept whole, whatever the reason.
    checked = f"SELECT *, shape IS NOT NULL AND {from_shape(layout)} IS NOT DISTINCT FROM body AS fits FROM named"  # noqa: S608
    kept = "fits, body, shape"
    return (
        f"COPY (WITH named AS (SELECT {', '.join(named)}, shape, body FROM read_json($source, "  # noqa: S608 - names, quoted
        f"format = 'newline_delimited', columns = {{{source}}}, maximum_object_size = {OBJECT_BYTES_MAX})), "
        f"checked AS ({checked}) SELECT * EXCLUDE ({kept}), CASE WHEN fits THEN shape END AS shape, "
        "CASE WHEN NOT fits THEN body END AS whole FROM checked) TO $target (FORMAT parquet, PARQUET_VERSION v2, "
        f"COMPRESSION {compression.lower()}, ROW_GROUP_SIZE {GROUP_ROWS}, KV_METADATA {{"
        f"{LAYOUT_KEY}: {_text(layout.encoded())}, {BODY_KEY}: {_text(body(layout))}}})"
    )


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make names in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
