"""The record store in one SQLite file.

One connection writes, under a lock; readers have connections of their own and see the state at their first statement
(write-ahead log), so a long answer never waits for a writer nor a writer for it. Every commit is forced to the disk.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any

from sqlalchemy import Select
from sqlalchemy.dialects import sqlite as sqlite_dialect

from jobmeter.contract import StoreUnavailable
from jobmeter.model.letter import DeadLetter
from jobmeter.model.outcome import Stopped, Stored
from jobmeter.model.question import Page, Question, Scope
from jobmeter.model.record import Record, RecordStop
from jobmeter.model.total import Total, TotalQuestion
from jobmeter.store.archive.archive import Archive, added, recall, without_archived
from jobmeter.store.archive.ledger import Execute
from jobmeter.store.archive.shelf import Session, Shelf, locked
from jobmeter.store.chunks import Chunks
from jobmeter.store.compare import at_most
from jobmeter.store.facet import FACET_OF_NAME, FacetNumbers, Numbers, Signature, totals
from jobmeter.store.fault import SchemaUnfit
from jobmeter.store.grouped import Part, parts_of
from jobmeter.store.ledger import Ledger, SqliteRunner
from jobmeter.store.letterbox import EVICTED, Bounds, letter_of, letter_row
from jobmeter.store.paging import page_of
from jobmeter.store.pool import Pool
from jobmeter.store.probe import SqliteProbe
from jobmeter.store.row import Batch, Held, batch_of, key_of, outcomes, stopped, storable
from jobmeter.store.schema import ADVICE, VERSION_TABLE
from jobmeter.store.sqlite_facets import interned
from jobmeter.store.sqlite_session import READER_SETTINGS, WRITER_SETTINGS, answering, check_schema, connect
from jobmeter.store.statement import Resolve, View, compiled, select_bodies, select_rows, written
from jobmeter.store.tables import records
from jobmeter.store.tally import ROWS_MAX, Tally

_DIALECT = sqlite_dialect.dialect(paramstyle="named")
_PROBE = SqliteProbe(records.c.body)
_KEYS_AT_ONCE = 500
"""Parameters of one statement; an old SQLite takes 999."""

_INSERT = """INSERT INTO records (start_us, stop_us, site, grp, usr, record_id, body) VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (record_id) DO NOTHING"""


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
        self.ledger = Ledger(SqliteRunner(self._writing, self._askers.lend, answering))

    def put(self, records: Sequence[Record]) -> list[Stored]:
        """See RecordStore."""
        batch = batch_of(records)
        if not batch.keys:
            return outcomes(batch, (), {})
        with self._writing() as writer:
            fresh, numbers = self._numbers_of(writer, batch)
            (last,) = writer.execute("SELECT coalesce(max(seq), 0) FROM records").fetchone()
            added = writer.executemany(
                _INSERT,
                [
                    (start, stop, *numbers[facets], key, body.decode())
                    for start, stop, facets, key, body in zip(
                        batch.starts, batch.stops, batch.facets, batch.keys, batch.bodies, strict=True
                    )
                ],
            ).rowcount
            new, stored = set(batch.keys), {}
            if added != len(batch.keys):
                new = {key for (key,) in writer.execute("SELECT record_id FROM records WHERE seq > ?", (last,))}
                stored = {key: body.encode() for key, _, _, body in _rows_of(writer, set(batch.keys) - new)}
            stored |= without_archived(self.archive, _execute(writer), new)
        self._numbers.learn(fresh)
        return outcomes(batch, new, stored)

    def stop(self, stops: Sequence[RecordStop]) -> list[Stopped]:
        """See RecordStore."""
        keys = {key_of(stop.record_id) for stop in stops if storable(stop.record_id)}
        with self._writing() as writer:
            held = {key: Held(seq, start, body.encode()) for key, seq, start, body in _rows_of(writer, keys)}
            archived = self.archive.held(_execute(writer), keys - held.keys())
            held |= {key: Held(one.seq, one.start_us, one.body) for key, one in archived.items()}
            answers, changes = stopped(stops, held)
            changed = {change.seq for change in changes}
            back = [one for one in archived.values() if one.seq in changed]
            recall(_execute(writer), back, lambda signature: interned(writer, signature))
            writer.executemany(
                "UPDATE records SET stop_us = ?, body = ? WHERE seq = ?",
                [(change.stop_us, change.body.decode(), change.seq) for change in changes],
            )
        return answers

    def one(self, record_id: str, scope: Scope) -> bytes | None:
        """See RecordStore."""
        with answering(), self._askers.lend() as reader:
            reader.execute("BEGIN")
            found = list(self._answer(reader, Question(scope, record_id=record_id)))
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
        with answering(), self._readers.lend() as reader, _snapshot(reader):
            return _totals(reader, question, self.archive)

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
        """How many dead letters had to go for newer ones, ever."""
        with answering(), self._askers.lend() as reader:
            row = reader.execute("SELECT value FROM counters WHERE name = ?", (EVICTED,)).fetchone()
            return 0 if row is None else int(row[0])

    def counts(self, facet: str | None = None) -> dict[str, int]:
        """See RecordStore. A record counts under each distinct value of its facet, and not at all without one."""
        with answering(), self._askers.lend() as reader:
            if facet is None:
                (total,) = reader.execute("SELECT count(*) FROM records").fetchone()
                return added({"": total}, self.archive.count(_execute(reader), None))
            column = FACET_OF_NAME[facet].column
            rows = reader.execute(
                f"SELECT f.value, t.n FROM (SELECT {column} AS no, count(*) AS n FROM records GROUP BY {column}) t "  # noqa: S608 - a name of our own
                "JOIN facets f ON f.no = t.no"
            )
            hot = totals((value.decode(), count) for value, count in rows)
            return added(hot, self.archive.count(_execute(reader), FACET_OF_NAME[facet]))

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
                yield _session(reader)
                reader.execute("COMMIT")

        @contextmanager
        def change() -> Iterator[Session]:
            with self._writing() as writer:
                yield _session(writer)

        with locked(self._path.with_name(f"{self._path.name}.archiving")):
            yield Shelf(self.archive, view, change)

    def _answer(self, reader: sqlite3.Connection, question: Question) -> Iterator[bytes]:
        files = self.archive.relevant(_execute(reader), question)
        if not files:
            return _bodies(reader, question)
        return (body for _, _, body in self.archive.with_hot(files, question, _rows(reader, question)))

    def _places(self, reader: sqlite3.Connection, question: Question) -> Generator[tuple[Any, int, bytes]]:
        files = self.archive.relevant(_execute(reader), question)
        hot = _rows(reader, question)
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


def _bodies(reader: sqlite3.Connection, question: Question) -> Iterator[bytes]:
    for statement in select_bodies(question, View(records, _PROBE, _resolver(reader))):
        for (body,) in reader.execute(*compiled(statement, _DIALECT)):
            yield body


def _rows(reader: sqlite3.Connection, question: Question) -> Generator[tuple[Any, int, bytes]]:
    for statement in select_rows(question, View(records, _PROBE, _resolver(reader))):
        yield from reader.execute(*compiled(statement, _DIALECT))


def _execute(connection: sqlite3.Connection) -> Execute:
    return lambda statement: connection.execute(*written(statement, _DIALECT)).fetchall()


def _session(connection: sqlite3.Connection) -> Session:
    return Session(
        _execute(connection),
        lambda statement: connection.execute(*written(statement, _DIALECT)),
        lambda signature: interned(connection, signature),
    )


def _resolver(reader: sqlite3.Connection) -> Resolve:
    def resolve(numbers: Select[tuple[int]]) -> list[int]:
        return [no for (no,) in reader.execute(*compiled(numbers, _DIALECT))]

    return resolve


@contextmanager
def _snapshot(reader: sqlite3.Connection) -> Iterator[None]:
    """All that is read within is of one state; what goes wrong ends the connection, and with it the transaction."""
    reader.execute("BEGIN")
    yield
    reader.execute("COMMIT")


def _totals(reader: sqlite3.Connection, question: TotalQuestion, archive: Archive) -> list[Total]:
    tally = Tally(question)
    parts = list(parts_of(question, View(records, _PROBE, _resolver(reader))))
    for part in parts:
        tally.add(part, _exact_rows(reader, part))
    archive.add_totals(_execute(reader), question, parts, tally)
    return tally.totals({number: _facet(reader, number) for number in tally.facet_numbers()})


def _exact_rows(reader: sqlite3.Connection, part: Part) -> list[Sequence[Any]]:
    """The rows of `part`: by SQLite's own arithmetic where that fits into 64 bits, else by Python's."""
    try:
        rows = reader.execute(*compiled(part.statement(False), _DIALECT)).fetchmany(ROWS_MAX + 1)
    except sqlite3.OperationalError as fault:
        if fault.sqlite_errorcode != sqlite3.SQLITE_ERROR:
            raise
    else:
        if not any(isinstance(value, float) for row in rows for value in row[part.sums_from :]):
            return rows
    return reader.execute(*compiled(part.statement(True), _DIALECT)).fetchmany(ROWS_MAX + 1)


def _facet(reader: sqlite3.Connection, number: int) -> str:
    (value,) = reader.execute("SELECT value FROM facets WHERE no = ?", (number,)).fetchone()
    return str(value, "utf-8")


def _rows_of(writer: sqlite3.Connection, keys: Iterable[str]) -> Iterator[tuple[Any, ...]]:
    """Key, seq, start_us and body of those `keys` that are stored."""
    rest = list(keys)
    while rest:
        some, rest = rest[:_KEYS_AT_ONCE], rest[_KEYS_AT_ONCE:]
        marks = ", ".join("?" * len(some))
        yield from writer.execute(
            f"SELECT record_id, seq, start_us, body FROM records WHERE record_id IN ({marks})",  # noqa: S608 - marks
            some,
        )
