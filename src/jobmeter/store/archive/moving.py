"""Moves records from the database into archive files, and back.

One file at a time: rows are read, written to a file with a temporary name, forced to the disk, read back and compared;
the file gets its name; then one transaction compares the rows once more with what was written, removes them and lists
the file. A crash before that transaction leaves a file that nobody reads, a crash after it changes nothing. Rows that
changed meanwhile make the transaction give up, and the file is written again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from msgspec import Struct
from sqlalchemy import ColumnElement, Select, and_, delete, func, select

from jobmeter.model.record import microseconds
from jobmeter.store.archive import ledger
from jobmeter.store.archive.archive import put_back
from jobmeter.store.archive.ledger import ArchiveFile
from jobmeter.store.archive.policy import Month, cutoff_us
from jobmeter.store.archive.shelf import Session, Shelf
from jobmeter.store.archive.writing import (
    BODY_CHARACTERS_MAX,
    Compression,
    Content,
    Row,
    Spooled,
    Written,
    sync_folder,
    write_file,
)
from jobmeter.store.tables import records

log = logging.getLogger("jobmeter.store")

FILE_RECORDS = 100_000
"""So many records are a file. More would keep the writers of an SQLite database waiting for longer than a second."""

_ATTEMPTS = 5

Steps = Callable[[str], None]
"""Called with the name of each step when it is done: for progress, and for tests that end the program there."""


class Plan(Struct, frozen=True):
    """What is archived and how. Records that stopped in one of the last `older_than_months` months stay."""

    folder: Path
    older_than_months: int
    prefix: str = "jobmeter"
    compression: Compression = "zstd"
    file_records: int = FILE_RECORDS


class Moved(Struct, frozen=True):
    """A file that was made."""

    path: Path
    month: str
    records: int
    size_bytes: int


class RowsChanged(Exception):  # noqa: N818 - the name says the fact
    """The rows are no longer what was written."""


class _Part(Struct, frozen=True):
    """The rows of one file: all of those between two stop times that had been inserted when they were read."""

    first_stop_us: int
    last_stop_us: int
    last_seq: int

    @property
    def condition(self) -> ColumnElement[bool]:
        return and_(
            records.c.stop_us >= self.first_stop_us,
            records.c.stop_us <= self.last_stop_us,
            records.c.seq <= self.last_seq,
            _FITS,
        )


class _Ready(Struct, frozen=True):
    """A file that has its name and waits to be listed."""

    path: Path
    month: Month
    written: Written
    now: datetime


_FITS = func.length(records.c.core) <= BODY_CHARACTERS_MAX


def archive_old(shelf: Shelf, plan: Plan, now: datetime, steps: Steps = lambda _: None) -> Iterator[Moved]:
    """Archive all months before the plan's, oldest first, one file after the other, each yielded when it is done.

    Records that came late for a month that is archived already get a further file of that month. Raises OSError,
    FileFaulty, StoreUnavailable; what was yielded before is archived all the same.
    """
    plan.folder.mkdir(parents=True, exist_ok=True)
    for leftover in plan.folder.glob(f"{plan.prefix}_*.partial*"):
        leftover.unlink()
    end_us = cutoff_us(now, plan.older_than_months)
    while (oldest := _oldest(shelf, end_us)) is not None:
        moved = _moved_once(shelf, plan, Month.of(oldest), now, steps)
        if moved is not None:
            yield moved


def waiting(shelf: Shelf, plan: Plan, now: datetime) -> int:
    """How many records a run would archive."""
    with shelf.view() as session:
        counted = select(func.count()).where(records.c.stop_us < cutoff_us(now, plan.older_than_months), _FITS)
        return int(session.execute(counted.select_from(records))[0][0])


def _oldest(shelf: Shelf, end_us: int) -> int | None:
    with shelf.view() as session:
        rows = session.execute(
            select(records.c.stop_us).where(records.c.stop_us < end_us, _FITS).order_by(records.c.stop_us).limit(1)
        )
    return rows[0][0] if rows else None


def _moved_once(shelf: Shelf, plan: Plan, month: Month, now: datetime, steps: Steps) -> Moved | None:
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return _moved(shelf, plan, month, now, steps)
        except RowsChanged:
            log.info("archive.rows_changed month=%s attempt=%d", month, attempt)
    raise RowsChanged(f"the records of {month} change all the time: try again later")


def _moved(shelf: Shelf, plan: Plan, month: Month, now: datetime, steps: Steps) -> Moved | None:
    """One file; None when its rows went away meanwhile: somebody else archived them, who took over the right to."""
    path = _free_name(plan, month)
    partial = path.with_name(f"{path.name}.partial")
    rows_file = path.with_name(f"{path.name}.partial-rows")
    try:
        spooled = Spooled(rows_file)
        _read(shelf, month, plan.file_records, spooled)
        if not spooled.content.rows:
            return None
        steps("read")
        written = write_file(shelf.archive.engine, spooled, partial, plan.compression)
        steps("written")
        # Made first, so that a file of that name which came meanwhile is no loss.
        path.open("xb").close()
        partial.replace(path)
        sync_folder(plan.folder)
        steps("named")
        try:
            _exchange(shelf, _Ready(path, month, written, now), steps)
        except RowsChanged:
            # Only then it is certain that the file was not listed: a database may go away in the middle of a commit.
            path.unlink()
            raise
    finally:
        partial.unlink(missing_ok=True)
        rows_file.unlink(missing_ok=True)
    steps("done")
    log.info(
        "archive.file_written path=%s month=%s records=%d bytes=%d", path, month, written.records, written.size_bytes
    )
    return Moved(path, str(month), written.records, written.size_bytes)


def _free_name(plan: Plan, month: Month) -> Path:
    """A name that is not taken: another program may keep its own files here."""
    stem = f"{plan.prefix}_{month.year:04d}_{month.number:02d}"
    names = (f"{stem}{'' if number == 1 else f'_{number}'}.parquet" for number in range(1, 1_000_000))
    return next(path for name in names if not (path := plan.folder / name).exists())


def _rows(condition: ColumnElement[bool]) -> Select[Any]:
    columns = ("seq", "start_us", "stop_us", "record_id", "body", "since_us")
    return select(*[records.c[name] for name in columns]).where(condition).order_by(records.c.stop_us, records.c.seq)


def _read(shelf: Shelf, month: Month, limit: int, spooled: Spooled) -> None:
    """Take the first rows of the month: about `limit`, and all that stopped in the same microsecond as the last."""
    within = and_(records.c.stop_us >= month.first_us, records.c.stop_us <= month.last_us, _FITS)
    with shelf.view() as session:
        spooled.take(_decoded(session, _rows(within).limit(limit)))
        tied = and_(records.c.stop_us == spooled.last_stop_us, records.c.seq > spooled.end_seq, _FITS)
        spooled.take(_decoded(session, _rows(tied)))


def _decoded(session: Session, statement: Select[Any]) -> Iterator[Row]:
    for seq, start_us, stop_us, key, body, since_us in session.stream(statement):
        yield seq, start_us, stop_us, _text(key), body if isinstance(body, bytes) else body.encode(), since_us


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _exchange(shelf: Shelf, ready: _Ready, steps: Steps) -> None:
    """Rows out, file in. Raises RowsChanged, and then nothing has changed."""
    written = ready.written
    part = _Part(written.first_stop_us, written.last_stop_us, written.last_seq)
    with shelf.change() as session:
        content = Content()
        for seq, _, _, _, body, since_us in _decoded(session, _rows(part.condition)):
            content.add(seq, body, since_us)
        if (content.rows, content.hexdigest) != (written.records, written.content_digest):
            raise RowsChanged
        session.execute(delete(records).where(part.condition))
        steps("removed")
        ledger.enlist(session.execute, str(ready.path.absolute()), str(ready.month), written, microseconds(ready.now))
        steps("listed")


def bring_back(shelf: Shelf, file: ArchiveFile) -> int:
    """Put all records of a listed file back into the database and take the file off the list; how many there were.

    The file itself stays where it is.
    """
    count = 0
    with shelf.change() as session:
        for block in shelf.archive.everything(file):
            put_back(session.execute, block, session.numbers)
            count += len(block)
        ledger.strike(session.execute, file.number)
    log.info("archive.file_brought_back path=%s records=%d", file.path, count)
    return count


def listed(shelf: Shelf) -> list[ArchiveFile]:
    """The files on the list."""
    with shelf.view() as session:
        return ledger.files(session.execute)


def unlisted(folder: Path, prefix: str, files: Iterable[ArchiveFile]) -> list[Path]:
    """Files in the folder that have such a name and are not on the list: of another program, or left by a crash."""
    known = {Path(file.path).name for file in files}
    return sorted(path for path in folder.glob(f"{prefix}_*.parquet") if path.name not in known)
