"""The record store in a PostgreSQL database (13 or newer).

Two pools of connections: a short one for writes and small questions, one for answers that are streamed, so that slow
readers never keep a write waiting. Writes are one statement wherever possible: it is a transaction of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any, TypeVar

import psycopg

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
from jobmeter.store.archive.shelf import Shelf
from jobmeter.store.checking import check_sums
from jobmeter.store.chunks import Chunks
from jobmeter.store.compare import at_most
from jobmeter.store.day_sums import keep_days
from jobmeter.store.facet import FACET_OF_NAME, FacetNumbers, Numbers, Signature, totals
from jobmeter.store.history import amend, change, faults, keep, steps_of, versions_of, without_withdrawn
from jobmeter.store.ledger import Ledger, PostgresqlRunner
from jobmeter.store.letterbox import EVICTED, Bounds, letter_row
from jobmeter.store.packed import int8s, texts
from jobmeter.store.paging import page_of
from jobmeter.store.past import Now, system_now
from jobmeter.store.pool import Pool
from jobmeter.store.postgresql_counts import counts_in
from jobmeter.store.postgresql_facets import intern
from jobmeter.store.postgresql_letters import add_letters, newest_letters
from jobmeter.store.postgresql_reading import bodies, executing, read_rows, snapshot
from jobmeter.store.postgresql_rows import held_rows, insert
from jobmeter.store.postgresql_shelf import shelf
from jobmeter.store.postgresql_sums import (
    PostgresqlSource,
    add_folded,
    add_sums,
    begin_anew,
    books_of,
    fold_alone,
    held_sums,
    note_change,
    read_pending,
    resum,
)
from jobmeter.store.rollup import FOLD_BATCHES
from jobmeter.store.row import Batch, Held, batch_of, key_of, outcomes, stopped, storable
from jobmeter.store.session import Connection, alive, answer_within, answering, connect, end
from jobmeter.store.totalling import archived_sums, total

_ATTEMPTS = 5
"""Two writers that add the same new ids in different orders lock each other; one is told to try again."""

T = TypeVar("T")


class PostgresqlStore:
    """The RecordStore of the contract in the PostgreSQL database at `url`, a libpq address.

    Nothing is connected until it is needed; a lost server is found again by itself. `writers` and `readers` bound the
    connections, `bounds` the dead letters. A schema that is not the present one is told by SchemaUnfit.
    """

    def __init__(
        self,
        url: str,
        *,
        writers: int = 4,
        readers: int = 16,
        wait_seconds: float = 2.0,
        bounds: Bounds | None = None,
    ) -> None:
        self._url = url
        self.now: Now = system_now
        self.archive = Archive()
        self._bounds = bounds or Bounds()
        self._numbers = FacetNumbers()

        def writer() -> Connection:
            # The database may have been replaced while no connection held it.
            self._numbers.forget()
            return connect(url, reading=False)

        self._writers: Pool[Connection] = Pool(writer, end, alive, limit=writers, wait_seconds=wait_seconds)
        self._readers: Pool[Connection] = Pool(
            lambda: connect(url, reading=True), end, alive, limit=readers, wait_seconds=wait_seconds
        )
        self._runner = PostgresqlRunner(self._write, self._ask)
        self.ledger = Ledger(self._runner)
        self.counted = counts_in(self._writers.lend, self._readers.lend, self.archive)

    def put(self, records: Sequence[Record]) -> list[Stored]:
        """See RecordStore."""
        batch = batch_of(records)
        if not batch.keys:
            return outcomes(batch, (), {})

        def work(writer: Connection) -> list[Stored]:
            numbers = self._numbers_of(writer, batch)
            with writer.transaction():
                added = insert(writer, batch, numbers, self.now())
                new, gone = added.new, dict[str, bytes]()
                if added.archived:
                    gone |= without_archived(self.archive, executing(writer), new)
                if added.withdrawn:
                    gone |= without_withdrawn(executing(writer), new)
            rest = set(batch.keys) - new
            stored = gone | {key: held.body for key, held in held_rows(writer, rest - gone.keys()).items()}
            if len(stored) < len(rest):
                raise StoreUnavailable("a record went away while it was compared")
            return outcomes(batch, new, stored)

        return self._write(work)

    def stop(self, stops: Sequence[RecordStop]) -> list[Stopped]:
        """See RecordStore."""
        keys = {key_of(stop.record_id) for stop in stops if storable(stop.record_id)}

        def work(writer: Connection) -> list[Stopped]:
            with writer.transaction():
                note_change(writer)
                held = held_rows(writer, keys, lock=True)
                archived = self.archive.held(executing(writer), keys - held.keys())
                held |= {key: Held(one.seq, one.start_us, one.body) for key, one in archived.items()}
                answers, changes = stopped(stops, held)
                changed = {change.seq for change in changes}
                back = [one for one in archived.values() if one.seq in changed]
                recall(executing(writer), back, lambda signature: intern(writer, [signature])[signature])
                if changes:
                    resum(writer, changes)
                    moments = keep(executing(writer), steps_of(changes), self.now())
                    writer.execute(
                        "UPDATE records r SET stop_us = c.stop_us, core = c.core, since_us = c.since_us "
                        "FROM unnest(%b, %b, %b, %b) AS c (seq, stop_us, core, since_us) WHERE r.seq = c.seq",
                        (
                            int8s([change.seq for change in changes]),
                            int8s([change.stop_us for change in changes]),
                            texts([change.core for change in changes]),
                            int8s(moments),
                        ),
                    )
            return answers

        return self._write(work)

    def correct(self, record: Record, edit: Edit) -> Changed:
        """See RecordStore."""
        return self._changed(record.record_id, record, edit)

    def amend(self, record_ids: Sequence[str], change: Callable[[Record], Record], edit: Edit) -> list[Changed]:
        """See RecordStore."""

        def work(writer: Connection) -> list[Changed]:
            with writer.transaction():
                books = books_of(writer, self.archive, self.now())
                return [amend(books, record_id, change, edit) for record_id in record_ids]

        return self._write(work)

    def withdraw(self, record_id: str, edit: Edit) -> Changed:
        """See RecordStore."""
        return self._changed(record_id, None, edit)

    def _changed(self, record_id: str, record: Record | None, edit: Edit) -> Changed:
        def work(writer: Connection) -> Changed:
            with writer.transaction():
                return change(books_of(writer, self.archive, self.now()), record_id, record, edit)

        return self._write(work)

    def versions(self, record_id: str) -> list[Version]:
        """See RecordStore."""
        with answering(), self._writers.lend() as writer:
            return versions_of(executing(writer), key_of(record_id)) if storable(record_id) else []

    def check_versions(self) -> list[str]:
        """See RecordStore."""
        with answering(), self._readers.lend() as reader, reader.transaction():
            return list(faults(executing(reader)))

    def one(self, record_id: str, scope: Scope, as_of_us: int | None = None) -> bytes | None:
        """See RecordStore."""
        with answering(), self._writers.lend() as writer, snapshot(writer):
            found = list(self._answer(writer, Question(scope, record_id=record_id, as_of_us=as_of_us)))
        return found[0] if found else None

    def stream(self, question: Question) -> Iterator[bytes]:
        """See RecordStore. The iterator has `close()`, for a reader who leaves early."""
        reader = self._readers.take()

        def release(complete: bool) -> None:
            try:
                if complete:
                    reader.rollback()
            except psycopg.Error:
                complete = False
            (self._readers.give if complete else self._readers.drop)(reader)

        def rows() -> Iterator[bytes]:
            with answering():
                yield from islice(self._answer(reader, question), at_most(question.limit))

        return Chunks(rows(), release)

    def totals(self, question: TotalQuestion) -> list[Total]:
        """See RecordStore."""
        with answering(), self._readers.lend() as reader, reader.transaction():
            answer = total(question, PostgresqlSource(reader, question.where.as_of_us), self.archive, executing(reader))
        keep_days(self._runner, answer.kept)
        return answer.totals

    def fold(self, batches_max: int = FOLD_BATCHES) -> int:
        """See RecordStore."""

        def work(writer: Connection) -> int:
            with self._readers.lend() as reader, reader.transaction():
                read = read_pending(reader, batches_max)
            if not read.some.numbers or add_folded(writer, read):
                return len(read.some.numbers)
            with writer.transaction():
                return fold_alone(writer, batches_max)

        return self._write(work)

    def behind(self) -> int:
        """See RecordStore."""
        with answering(), self._readers.lend() as reader:
            rows = reader.execute("SELECT coalesce(sum(cardinality(seqs)), 0) FROM rollup_pending").fetchall()
        return int(rows[0][0])

    def check_rollups(self) -> list[str]:
        """See RecordStore."""
        with answering(), self._readers.lend() as reader, reader.transaction():
            return check_sums(held_sums(reader), PostgresqlSource(reader), self.archive, executing(reader))

    def rebuild_rollups(self) -> None:
        """See RecordStore."""

        def work(writer: Connection) -> None:
            with writer.transaction():
                writer.execute("SET LOCAL statement_timeout = 0")
                begin_anew(writer)
                add_sums(writer, archived_sums(self.archive, executing(writer)))

        self._write(work)

    def page(self, question: Question, bytes_max: int) -> Page:
        """See RecordStore."""
        with answering(), self._readers.lend() as reader:
            page = page_of(lambda asked: self._places(reader, asked), question, bytes_max)
            reader.rollback()
        return page

    def bury(self, letters: Sequence[DeadLetter]) -> None:
        """See RecordStore."""
        rows = [letter_row(letter, self._bounds) for letter in letters]
        self._write(lambda writer: add_letters(writer, rows, self._bounds.letters))

    def letters(self, limit: int) -> list[DeadLetter]:
        """See RecordStore."""
        with answering(), self._writers.lend() as writer:
            return newest_letters(writer, limit)

    def letters_evicted(self) -> int:
        """See RecordStore."""
        return next((row[0] for row in self._ask("SELECT value FROM counters WHERE name = %s", (EVICTED,))), 0)

    def counts(self, facet: str | None = None) -> dict[str, int]:
        """See RecordStore. A record counts under each distinct value of its facet, and not at all without one."""
        column = "site" if facet is None else FACET_OF_NAME[facet].column
        with answering(), self._writers.lend() as writer, snapshot(writer):
            counted = PostgresqlSource(writer).counts(column)
        return {"": sum(count for _, count in counted)} if facet is None else totals(counted)

    def bookmark(self, name: str) -> str | None:
        """See Bookmarks."""
        return next((row[0] for row in self._ask("SELECT value FROM bookmarks WHERE name = %s", (name,))), None)

    def keep_bookmark(self, name: str, value: str) -> None:
        """See Bookmarks."""

        def work(writer: Connection) -> None:
            writer.execute(
                b"INSERT INTO bookmarks (name, value) VALUES (%s, %s) "
                b"ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                (name, value),
            )

        self._write(work)

    def ping(self) -> None:
        """See RecordStore."""
        with answering(), self._writers.lend() as writer:
            answer_within(writer, 2.0)

    def close(self) -> None:
        """See RecordStore."""
        self._readers.close()
        self._writers.close()
        self.archive.close()

    def shelf(self) -> AbstractContextManager[Shelf]:
        """The right to move records between database and archive. Raises ArchiveBusy when another process has it."""
        return shelf(self._url, self.archive, self._readers, self._writers)

    def archived_files(self) -> list[ArchiveFile]:
        """The files that are listed."""
        with answering(), self._writers.lend() as reader, snapshot(reader):
            return ledger.files(executing(reader))

    def _answer(self, reader: Connection, question: Question) -> Iterator[bytes]:
        files = self.archive.relevant(executing(reader), question)
        if not files:
            return bodies(reader, question)
        return (body for _, _, body in self.archive.with_hot(files, question, read_rows(reader, question)))

    def _places(self, reader: Connection, question: Question) -> Generator[tuple[Any, int, bytes]]:
        files = self.archive.relevant(executing(reader), question)
        hot = read_rows(reader, question)
        yield from self.archive.with_hot(files, question, hot) if files else hot

    def _write(self, work: Callable[[Connection], T]) -> T:
        """What `work` answers; done again from its start where the server undid it for another writer's sake."""
        with answering():
            for _ in range(_ATTEMPTS - 1):
                try:
                    with self._writers.lend() as writer:
                        return work(writer)
                except (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure):
                    continue
            with self._writers.lend() as writer:
                return work(writer)

    def _ask(self, statement: str, values: Sequence[object] = ()) -> list[Any]:
        with answering(), self._writers.lend() as writer:
            return writer.execute(statement.encode(), values).fetchall()

    def _numbers_of(self, writer: Connection, batch: Batch) -> dict[Signature, Numbers]:
        """The numbers of the batch's facets; new ones become durable before any record refers to them."""
        wanted = set(batch.facets)
        known = self._numbers.known(wanted)
        if len(known) == len(wanted):
            return known
        fresh = intern(writer, [signature for signature in wanted if signature not in known])
        self._numbers.learn(fresh)
        return known | fresh
