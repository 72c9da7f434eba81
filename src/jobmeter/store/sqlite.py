"""The record store in one SQLite file.

One connection writes, under a lock; readers have connections of their own and see the state at their first statement
(write-ahead log), so a long answer never waits for a writer nor a writer for it. Every commit is forced to the disk.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any

from jobmeter.contract import StoreUnavailable
from jobmeter.model.letter import DeadLetter
from jobmeter.model.outcome import Stopped, Stored
from jobmeter.model.question import Page, Question, Scope
from jobmeter.model.record import Record, RecordStop
from jobmeter.model.total import Total, TotalQuestion
from jobmeter.model.version import Changed, Edit, Version
from jobmeter.store.archive import ledger
from jobmeter.store.archive.archive import Archive, recall, without_archived
from jobmeter.store.archive.ledger import ArchiveFile
from jobmeter.store.archive.shelf import Session, Shelf, locked
from jobmeter.store.checking import check_sums
from jobmeter.store.chunks import Chunks
from jobmeter.store.compare import at_most
from jobmeter.store.day_sums import keep_days
from jobmeter.store.facet import FACET_OF_NAME, FacetNumbers, Numbers, Signature, totals
from jobmeter.store.fault import SchemaUnfit
from jobmeter.store.history import amend, change, faults, keep, steps_of, versions_of, without_withdrawn
from jobmeter.store.ledger import Ledger, SqliteRunner
from jobmeter.store.letterbox import EVICTED, Bounds, letter_of, letter_row
from jobmeter.store.paging import page_of
from jobmeter.store.past import Now, system_now
from jobmeter.store.pool import Pool
from jobmeter.store.rollup import FOLD_BATCHES
from jobmeter.store.row import Batch, Held, batch_of, key_of, outcomes, stopped, storable
from jobmeter.store.schema import ADVICE, VERSION_TABLE
from jobmeter.store.sqlite_counts import counts_in
from jobmeter.store.sqlite_facets import interned
from jobmeter.store.sqlite_reading import bodies, executing, read_rows, session_of, snapshot
from jobmeter.store.sqlite_rows import insert, rows_of
from jobmeter.store.sqlite_session import READER_SETTINGS, WRITER_SETTINGS, answering, check_schema, connect
from jobmeter.store.sqlite_sums import (
    SqliteSource,
    add_folded,
    add_sums,
    begin_anew,
    books_of,
    fold_all,
    held_sums,
    note_batch,
    read_pending,
    resum,
)
from jobmeter.store.totalling import archived_sums, total

_BEFORE_ADDING = (
    "SELECT (SELECT coalesce(max(seq), 0) FROM records), EXISTS (SELECT 1 FROM archive_files), "
    "EXISTS (SELECT 1 FROM withdrawn)"
)
"""The last record, and whether there are any in the archive or withdrawn ones."""


class SqliteStore:
    """The RecordStore of the contract in the SQLite file `path`, whose schema must be the present one.

    `readers` is how many long answers may be under way at once, `busy_seconds` how long a writer waits for one of
    another process, `bounds` those of the dead letters. Raises SchemaUnfit.
    """

    def __init__(
        self,
        path: Path,
        *,
        readers: int = 32,
        wait_seconds: float = 2.0,
        busy_seconds: float = 5.0,
        bounds: Bounds | None = None,
    ) -> None:
        self._path = path
        self.now: Now = system_now
        self.archive = Archive()
        self._bounds = bounds or Bounds()
        self._numbers = FacetNumbers()
        self._lock = Lock()
        self._closed = False
        if not path.exists():
            raise SchemaUnfit(f"there is no database {path}: {ADVICE}")
        with answering():
            self._writer = connect(path, "rw", WRITER_SETTINGS, busy_seconds)
            try:
                check_schema(self._writer)
            except BaseException:
                self._writer.close()
                raise

        def pool(limit: int) -> Pool[sqlite3.Connection]:
            return Pool(
                lambda: connect(path, "ro", READER_SETTINGS, busy_seconds),
                sqlite3.Connection.close,
                lambda _: True,
                limit=limit,
                wait_seconds=wait_seconds,
            )

        # Short questions have connections of their own: slow readers of long answers never keep them waiting.
        self._readers, self._askers = pool(readers), pool(8)
        self._runner = SqliteRunner(self._writing, self._askers.lend, answering)
        self.ledger = Ledger(self._runner)
        self.counted = counts_in(self._writing, self._readers.lend, self.archive)

    def put(self, records: Sequence[Record]) -> list[Stored]:
        """See RecordStore."""
        batch = batch_of(records)
        if not batch.keys:
            return outcomes(batch, (), {})
        with self._writing() as writer:
            fresh, numbers = self._numbers_of(writer, batch)
            last, archived, withdrawn = writer.execute(_BEFORE_ADDING).fetchone()
            added = insert(writer, batch, numbers, self.now())
            new, stored = set(batch.keys), {}
            if added != len(batch.keys):
                new = {key for (key,) in writer.execute("SELECT record_id FROM records WHERE seq > ?", (last,))}
                stored = {key: body.encode() for key, _, _, body in rows_of(writer, set(batch.keys) - new)}
            if archived:
                stored |= without_archived(self.archive, executing(writer), new)
            if withdrawn:
                stored |= without_withdrawn(executing(writer), new)
            if new:
                note_batch(writer, last)
        self._numbers.learn(fresh)
        return outcomes(batch, new, stored)

    def stop(self, stops: Sequence[RecordStop]) -> list[Stopped]:
        """See RecordStore."""
        keys = {key_of(stop.record_id) for stop in stops if storable(stop.record_id)}
        with self._writing() as writer:
            held = {key: Held(seq, start, body.encode()) for key, seq, start, body in rows_of(writer, keys)}
            archived = self.archive.held(executing(writer), keys - held.keys())
            held |= {key: Held(one.seq, one.start_us, one.body) for key, one in archived.items()}
            answers, changes = stopped(stops, held)
            changed = {change.seq for change in changes}
            back = [one for one in archived.values() if one.seq in changed]
            recall(executing(writer), back, lambda signature: interned(writer, signature))
            resum(writer, changes)
            moments = keep(executing(writer), steps_of(changes), self.now())
            writer.executemany(
                "UPDATE records SET stop_us = ?, core = ?, since_us = ? WHERE seq = ?",
                [
                    (change.stop_us, change.core.decode(), moment_us, change.seq)
                    for change, moment_us in zip(changes, moments, strict=True)
                ],
            )
        return answers

    def correct(self, record: Record, edit: Edit) -> Changed:
        """See RecordStore."""
        return self._changed(record.record_id, record, edit)

    def amend(self, record_ids: Sequence[str], change: Callable[[Record], Record], edit: Edit) -> list[Changed]:
        """See RecordStore."""
        with self._writing() as writer:
            books = books_of(writer, self.archive, self.now())
            return [amend(books, record_id, change, edit) for record_id in record_ids]

    def withdraw(self, record_id: str, edit: Edit) -> Changed:
        """See RecordStore."""
        return self._changed(record_id, None, edit)

    def _changed(self, record_id: str, record: Record | None, edit: Edit) -> Changed:
        with self._writing() as writer:
            return change(books_of(writer, self.archive, self.now()), record_id, record, edit)

    def versions(self, record_id: str) -> list[Version]:
        """See RecordStore."""
        with answering(), self._askers.lend() as reader:
            return versions_of(executing(reader), key_of(record_id)) if storable(record_id) else []

    def check_versions(self) -> list[str]:
        """See RecordStore."""
        with answering(), self._readers.lend() as reader, snapshot(reader):
            return list(faults(executing(reader)))

    def one(self, record_id: str, scope: Scope, as_of_us: int | None = None) -> bytes | None:
        """See RecordStore."""
        with answering(), self._askers.lend() as reader:
            reader.execute("BEGIN")
            found = list(self._answer(reader, Question(scope, record_id=record_id, as_of_us=as_of_us)))
            reader.execute("COMMIT")
        return found[0] if found else None

    def stream(self, question: Question) -> Iterator[bytes]:
        """See RecordStore. The iterator has `close()`, for a reader who leaves early."""
        with answering():
            reader = self._readers.take()

        def release(complete: bool) -> None:
            try:
                if complete:
                    reader.execute("COMMIT")
            except sqlite3.Error:
                complete = False
            (self._readers.give if complete else self._readers.drop)(reader)

        def rows() -> Iterator[bytes]:
            with answering():
                reader.execute("BEGIN")
                yield from islice(self._answer(reader, question), at_most(question.limit))

        return Chunks(rows(), release)

    def totals(self, question: TotalQuestion) -> list[Total]:
        """See RecordStore."""
        with answering(), self._readers.lend() as reader, snapshot(reader):
            answer = total(question, SqliteSource(reader, question.where.as_of_us), self.archive, executing(reader))
        keep_days(self._runner, answer.kept)
        return answer.totals

    def fold(self, batches_max: int = FOLD_BATCHES) -> int:
        """See RecordStore."""
        with answering(), self._askers.lend() as reader, snapshot(reader):
            folded = read_pending(reader, batches_max)
        if not folded.some.numbers:
            return 0
        with self._writing() as writer:
            return add_folded(writer, folded, batches_max)

    def behind(self) -> int:
        """See RecordStore."""
        with answering(), self._askers.lend() as reader:
            (records,) = reader.execute("SELECT coalesce(sum(high - low + 1), 0) FROM rollup_pending").fetchone()
        return int(records)

    def check_rollups(self) -> list[str]:
        """See RecordStore."""
        with answering(), self._readers.lend() as reader, snapshot(reader):
            return check_sums(held_sums(reader), SqliteSource(reader), self.archive, executing(reader))

    def rebuild_rollups(self) -> None:
        """See RecordStore."""
        with self._writing() as writer:
            begin_anew(writer)
            add_sums(writer, archived_sums(self.archive, executing(writer)))

    def page(self, question: Question, bytes_max: int) -> Page:
        """See RecordStore."""
        with answering(), self._askers.lend() as reader:
            reader.execute("BEGIN")
            page = page_of(lambda asked: self._places(reader, asked), question, bytes_max)
            reader.execute("COMMIT")
        return page

    def bury(self, letters: Sequence[DeadLetter]) -> None:
        """See RecordStore."""
        with self._writing() as writer:
            writer.executemany(
                "INSERT INTO dead_letters (origin, reason, body, received_us, size_bytes) VALUES (?, ?, ?, ?, ?)",
                [letter_row(letter, self._bounds) for letter in letters],
            )
            evicted = writer.execute(
                "DELETE FROM dead_letters WHERE no <= (SELECT no FROM dead_letters ORDER BY no DESC LIMIT 1 OFFSET ?)",
                (self._bounds.letters,),
            ).rowcount
            writer.execute(
                "INSERT INTO counters (name, value) VALUES (?, ?) "
                "ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
                (EVICTED, evicted),
            )

    def letters(self, limit: int) -> list[DeadLetter]:
        """See RecordStore."""
        with answering(), self._askers.lend() as reader:
            rows = reader.execute(
                "SELECT no, CAST(origin AS BLOB), CAST(reason AS BLOB), body, received_us, size_bytes "
                "FROM dead_letters ORDER BY no DESC LIMIT ?",
                (limit,),
            )
            return [
                letter_of(no, (origin.decode(), reason.decode(), body, received, size))
                for no, origin, reason, body, received, size in rows
            ]

    def letters_evicted(self) -> int:
        """See RecordStore."""
        with answering(), self._askers.lend() as reader:
            row = reader.execute("SELECT value FROM counters WHERE name = ?", (EVICTED,)).fetchone()
            return 0 if row is None else int(row[0])

    def counts(self, facet: str | None = None) -> dict[str, int]:
        """See RecordStore. A record counts under each distinct value of its facet, and not at all without one."""
        column = "site" if facet is None else FACET_OF_NAME[facet].column
        with answering(), self._askers.lend() as reader, snapshot(reader):
            counted = SqliteSource(reader).counts(column)
        return {"": sum(count for _, count in counted)} if facet is None else totals(counted)

    def bookmark(self, name: str) -> str | None:
        """See Bookmarks."""
        with answering(), self._askers.lend() as reader:
            row = reader.execute("SELECT value FROM bookmarks WHERE name = ?", (name,)).fetchone()
            return None if row is None else str(row[0].decode())

    def keep_bookmark(self, name: str, value: str) -> None:
        """See Bookmarks."""
        with self._writing() as writer:
            writer.execute("INSERT OR REPLACE INTO bookmarks (name, value) VALUES (?, ?)", (name, value))

    def ping(self) -> None:
        """See RecordStore."""
        with answering(), self._askers.lend() as reader:
            reader.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone()  # noqa: S608 - a constant

    def close(self) -> None:
        """See RecordStore."""
        self._readers.close()
        self._askers.close()
        self.archive.close()
        with self._lock:
            self._closed = True
            self._writer.close()

    @contextmanager
    def shelf(self) -> Iterator[Shelf]:
        """The right to move records between database and archive. Raises ArchiveBusy when another process has it."""

        @contextmanager
        def view() -> Iterator[Session]:
            with answering(), self._readers.lend() as reader:
                reader.execute("BEGIN")
                yield session_of(reader)
                reader.execute("COMMIT")

        @contextmanager
        def change() -> Iterator[Session]:
            with self._writing() as writer:
                fold_all(writer)  # what leaves the database must be in the rollups
                yield session_of(writer)

        with locked(self._path.with_name(f"{self._path.name}.archiving")):
            yield Shelf(self.archive, view, change)

    def archived_files(self) -> list[ArchiveFile]:
        """The files that are listed."""
        with answering(), self._askers.lend() as reader, snapshot(reader):
            return ledger.files(executing(reader))

    def _answer(self, reader: sqlite3.Connection, question: Question) -> Iterator[bytes]:
        files = self.archive.relevant(executing(reader), question)
        if not files:
            return bodies(reader, question)
        return (body for _, _, body in self.archive.with_hot(files, question, read_rows(reader, question)))

    def _places(self, reader: sqlite3.Connection, question: Question) -> Generator[tuple[Any, int, bytes]]:
        files = self.archive.relevant(executing(reader), question)
        hot = read_rows(reader, question)
        yield from self.archive.with_hot(files, question, hot) if files else hot

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with answering(), self._lock:
            if self._closed:
                raise StoreUnavailable("the store is closed")
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                # A full disk ends the transaction by itself.
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise

    def _numbers_of(
        self, writer: sqlite3.Connection, batch: Batch
    ) -> tuple[dict[Signature, Numbers], dict[Signature, Numbers]]:
        """The numbers of the batch's facets: those looked up or given now, and all."""
        wanted = set(batch.facets)
        known = self._numbers.known(wanted)
        fresh = {signature: interned(writer, signature) for signature in wanted if signature not in known}
        return fresh, known | fresh
