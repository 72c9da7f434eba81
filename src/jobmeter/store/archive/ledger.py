"""What the database knows of the archive. Every call runs in the caller's transaction, on either database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import Executable, delete, insert, select

from jobmeter.store.archive.ids import packed
from jobmeter.store.archive.layout import Layout, layout_of
from jobmeter.store.archive.writing import Written
from jobmeter.store.tables import archive_files, archive_recalled

Execute = Callable[[Executable | str], list[Any]]
"""Runs a statement on the caller's connection and returns its rows (none for a statement that has none)."""


class ArchiveFile(Struct, frozen=True):
    """A listed file. `recalled` are the numbers of insertion of those records that are back in the database."""

    number: int
    path: str
    month: str
    layout: Layout
    records: int
    whole: int
    size_bytes: int
    file_digest: str
    content_digest: str
    first_stop_us: int
    last_stop_us: int
    first_start_us: int
    written_us: int
    recalled: tuple[int, ...] = ()


def left_in(file: ArchiveFile) -> int:
    """How many of its records are archived still."""
    return file.records - len(file.recalled)


_NEWEST = "SELECT coalesce(max(no), 0) FROM archive_files"
_STATE = "SELECT coalesce(max(no), 0), count(*), (SELECT count(*) FROM archive_recalled) FROM archive_files"
_COLUMNS = [column for column in archive_files.c if column.name != "ids"]


def newest(execute: Execute) -> int:
    """The number of the newest file that is listed, 0 when there is none."""
    found: int = execute(_NEWEST)[0][0]
    return found


State = tuple[int, int, int]
"""The newest file's number, how many files and how many recalled records there are: never the same for two lists.

While no file is added their number only falls, and while that stays the recalled only become more.
"""


def state(execute: Execute) -> State:
    """Which list there is now; the first number is 0 where there is none."""
    newest_number, count, recalled = execute(_STATE)[0]
    return newest_number, count, recalled


def files(execute: Execute) -> list[ArchiveFile]:
    """All listed files, in order of their first stop."""
    recalled: dict[int, list[int]] = {}
    rows = execute(select(*_COLUMNS).order_by(archive_files.c.first_stop_us, archive_files.c.no))
    if rows:
        for number, seq in execute(select(archive_recalled.c.file_no, archive_recalled.c.seq)):
            recalled.setdefault(number, []).append(seq)
    return [_file(row, tuple(recalled.get(row[0], ()))) for row in rows]


def _file(row: Sequence[Any], recalled: tuple[int, ...]) -> ArchiveFile:
    # A connection for reading gives text as bytes.
    told: dict[str, Any] = {
        column.name: value.decode() if isinstance(value, bytes) else value
        for column, value in zip(_COLUMNS, row, strict=True)
    }
    number, layout = told.pop("no"), layout_of(told.pop("layout"))
    return ArchiveFile(number=number, layout=layout, recalled=recalled, **told)


def ids_since(execute: Execute, number: int) -> list[tuple[int, bytes]]:
    """The numbers and packed ids of files newer than `number`, oldest first."""
    wanted = select(archive_files.c.no, archive_files.c.ids).where(archive_files.c.no > number)
    return [(no, bytes(ids)) for no, ids in execute(wanted.order_by(archive_files.c.no))]


def enlist(execute: Execute, path: str, month: str, written: Written, written_us: int) -> None:
    """List a file."""
    execute(
        insert(archive_files).values(
            path=path,
            month=month,
            layout=written.layout.encoded(),
            records=written.records,
            whole=written.whole,
            size_bytes=written.size_bytes,
            file_digest=written.file_digest,
            content_digest=written.content_digest,
            first_stop_us=written.first_stop_us,
            last_stop_us=written.last_stop_us,
            first_start_us=written.first_start_us,
            written_us=written_us,
            ids=packed(written.digests),
        )
    )


def strike(execute: Execute, number: int) -> None:
    """Take a file off the list, when all of its records are back in the database."""
    execute(delete(archive_recalled).where(archive_recalled.c.file_no == number))
    execute(delete(archive_files).where(archive_files.c.no == number))


def recall(execute: Execute, number: int, seq: int) -> None:
    """Note that a record of a file is back in the database."""
    execute(insert(archive_recalled).values(file_no=number, seq=seq))
