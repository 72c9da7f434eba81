"""The record store in a PostgreSQL database (13 or newer).

Two pools of connections: a short one for writes and small questions, one for answers that are streamed, so that slow
readers never keep a write waiting. Writes are one statement wherever possible: it is a transaction of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from typing import Any, TypeVar

import psycopg
from psycopg import capabilities
from psycopg.types.string import ByteaBinaryLoader
from sqlalchemy import Executable, Select
from sqlalchemy.dialects.postgresql import psycopg as postgresql_dialect

from jobmeter.contract import StoreUnavailable
from jobmeter.model.letter import DeadLetter
from jobmeter.model.outcome import Stopped, Stored
from jobmeter.model.question import Page, Question, Scope
from jobmeter.model.record import Record, RecordStop
from jobmeter.model.total import Total, TotalQuestion
from jobmeter.store.archive.archive import Archive, added, recall, without_archived
from jobmeter.store.archive.ledger import Execute
from jobmeter.store.archive.shelf import ArchiveBusy, Session, Shelf
from jobmeter.store.chunks import Chunks
from jobmeter.store.compare import at_most
from jobmeter.store.facet import FACET_OF_NAME, FacetNumbers, Numbers, Signature, totals
from jobmeter.store.grouped import parts_of
from jobmeter.store.ledger import Ledger, PostgresqlRunner
from jobmeter.store.letterbox import EVICTED, Bounds, letter_of, letter_row
from jobmeter.store.packed import int4s, int8s, texts
from jobmeter.store.paging import page_of
from jobmeter.store.pool import Pool
from jobmeter.store.postgresql_facets import intern
from jobmeter.store.probe import PostgresqlProbe
from jobmeter.store.row import Batch, Held, batch_of, key_of, outcomes, stopped, storable
from jobmeter.store.session import Connection, alive, answer_within, answering, connect, end
from jobmeter.store.statement import Resolve, Statement, View, compiled, select_bodies, select_rows, written
from jobmeter.store.tables import records
from jobmeter.store.tally import ROWS_MAX, Tally

_DIALECT = postgresql_dialect.dialect()  # type: ignore[no-untyped-call]
_PROBE = PostgresqlProbe(records.c.body)

# How many rows the driver holds at a time. A row may have 2 MiB; libpq before 17 can only give them one by one.
_ROWS_AT_ONCE = 64 if capabilities.has_stream_chunked() else 1

_ARCHIVING = 0x6A6F6261
"""The advisory lock that keeps two movers of records apart."""

_ATTEMPTS = 5
"""Two writers that add the same new ids in different orders lock each other; one is told to try again."""

_INSERT = """INSERT INTO records (start_us, stop_us, site, grp, usr, record_id, body)
    SELECT * FROM unnest(%b, %b, %b, %b, %b, %b, %b) ON CONFLICT (record_id) DO NOTHING RETURNING record_id"""

T = TypeVar("T")


class PostgresqlStore:
    """The RecordStore of the contract in the PostgreSQL database at `url`, a libpq address.

    Nothing is connected until it is needed; a lost server is found again by itself. `writers` and `readers` bound the
    connections, `bounds` the dead letters. A schema that is not the present one is told by SchemaUnfit, whatever is
    asked.
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
        self.ledger = Ledger(PostgresqlRunner(self._write, self._ask))

    def put(self, records: Sequence[Record]) -> list[Stored]:
        """See RecordStore."""
        batch = batch_of(records)
        if not batch.keys:
            return outcomes(batch, (), {})

        def work(writer: Connection) -> list[Stored]:
            numbers = self._numbers_of(writer, batch)
            with writer.transaction():
                new = _insert(writer, batch, numbers)
                archived = without_archived(self.archive, _execute(writer), new)
            rest = set(batch.keys) - new
            stored = archived | {key: held.body for key, held in _held(writer, rest - archived.keys()).items()}
            if len(stored) < len(rest):
                raise StoreUnavailable("a record went away while it was compared")
            return outcomes(batch, new, stored)

        return self._write(work)

    def stop(self, stops: Sequence[RecordStop]) -> list[Stopped]:
        """See RecordStore."""
        keys = {key_of(stop.record_id) for stop in stops if storable(stop.record_id)}

        def work(writer: Connection) -> list[Stopped]:
            with writer.transaction():
                held = _held(writer, keys, lock=True)
                archived = self.archive.held(_execute(writer), keys - held.keys())
                held |= {key: Held(one.seq, one.start_us, one.body) for key, one in archived.items()}
                answers, changes = stopped(stops, held)
                changed = {change.seq for change in changes}
                back = [one for one in archived.values() if one.seq in changed]
                recall(_execute(writer), back, lambda signature: intern(writer, [signature])[signature])
                if changes:
                    writer.execute(
                        "UPDATE records r SET stop_us = c.stop_us, body = c.body "
                        "FROM unnest(%b, %b, %b) AS c (seq, stop_us, body) WHERE r.seq = c.seq",
                        (
                            int8s([change.seq for change in changes]),
                            int8s([change.stop_us for change in changes]),
                            texts([change.body for change in changes]),
                        ),
                    )
            return answers

        return self._write(work)

    def one(self, record_id: str, scope: Scope) -> bytes | None:
        """See RecordStore."""
        with answering(), self._writers.lend() as writer, _snapshot(writer):
            found = list(self._answer(writer, Question(scope, record_id=record_id)))
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
            return _totals(reader, question, self.archive)

    def page(self, question: Question, bytes_max: int) -> Page:
        """See RecordStore."""
        with answering(), self._readers.lend() as reader:
            page = page_of(lambda asked: self._places(reader, asked), question, bytes_max)
            reader.rollback()
        return page

    def bury(self, letters: Sequence[DeadLetter]) -> None:
        """See RecordStore."""
        rows = [letter_row(letter, self._bounds) for letter in letters]

        def work(writer: Connection) -> None:
            with writer.transaction(), writer.cursor() as cursor:
                cursor.executemany(
                    "INSERT INTO dead_letters (origin, reason, body, received_us, size_bytes) "
                    "VALUES (%s, %s, %s, %s, %s)",
                    rows,
                )
                evicted = cursor.execute(
                    "DELETE FROM dead_letters "
                    "WHERE no <= (SELECT no FROM dead_letters ORDER BY no DESC LIMIT 1 OFFSET %s)",
                    (self._bounds.letters,),
                ).rowcount
                cursor.execute(
                    "INSERT INTO counters (name, value) VALUES (%s, %s) "
                    "ON CONFLICT (name) DO UPDATE SET value = counters.value + excluded.value",
                    (EVICTED, evicted),
                )

        self._write(work)

    def letters(self, limit: int) -> list[DeadLetter]:
        """See RecordStore."""
        rows = self._ask(
            "SELECT no, origin, reason, body, received_us, size_bytes FROM dead_letters ORDER BY no DESC LIMIT %s",
            (limit,),
        )
        return [letter_of(number, rest) for number, *rest in rows]

    def letters_evicted(self) -> int:
        """How many dead letters had to go for newer ones, ever."""
        rows = self._ask("SELECT value FROM counters WHERE name = %s", (EVICTED,))
        return rows[0][0] if rows else 0

    def counts(self, facet: str | None = None) -> dict[str, int]:
        """See RecordStore. A record counts under each distinct value of its facet, and not at all without one."""
        with answering(), self._writers.lend() as writer, _snapshot(writer):
            execute = _execute(writer)
            if facet is None:
                hot = {"": execute("SELECT count(*) FROM records")[0][0]}
                found = added(hot, self.archive.count(execute, None))
            else:
                column = FACET_OF_NAME[facet].column
                statement = (
                    f"SELECT f.value, t.n FROM (SELECT {column} AS no, count(*) AS n FROM records GROUP BY {column}) t "  # noqa: S608 - a name of our own
                    "JOIN facets f ON f.no = t.no"
                )
                found = added(totals(execute(statement)), self.archive.count(execute, FACET_OF_NAME[facet]))
        return found

    def ping(self) -> None:
        """See RecordStore."""
        with answering(), self._writers.lend() as writer:
            answer_within(writer, 2.0)

    def close(self) -> None:
        """See RecordStore."""
        self._readers.close()
        self._writers.close()
        self.archive.close()

    @contextmanager
    def shelf(self) -> Iterator[Shelf]:
        """The right to move records between database and archive. Raises ArchiveBusy when another process has it."""

        @contextmanager
        def view() -> Iterator[Session]:
            with answering(), self._readers.lend() as reader:
                yield _session(reader)
                reader.rollback()

        @contextmanager
        def change() -> Iterator[Session]:
            with answering(), self._writers.lend() as writer, writer.transaction():
                writer.execute("SET LOCAL statement_timeout = 0")
                yield _session(writer)

        with answering(), closing(connect(self._url, reading=False)) as holder:
            if holder.execute("SELECT pg_try_advisory_lock(%s)", (_ARCHIVING,)).fetchone() != (True,):
                raise ArchiveBusy("another process is moving records to or from the archive")
            yield Shelf(self.archive, view, change)

    def _answer(self, reader: Connection, question: Question) -> Iterator[bytes]:
        files = self.archive.relevant(_execute(reader), question)
        if not files:
            return _bodies(reader, question)
        return (body for _, _, body in self.archive.with_hot(files, question, _rows(reader, question)))

    def _places(self, reader: Connection, question: Question) -> Generator[tuple[Any, int, bytes]]:
        files = self.archive.relevant(_execute(reader), question)
        hot = _rows(reader, question)
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


def _insert(writer: Connection, batch: Batch, numbers: Mapping[Signature, Numbers]) -> set[str]:
    """Add the records whose ids are not there yet, in order, and return their keys."""
    sites, groups, users = zip(*[numbers[signature] for signature in batch.facets], strict=True)
    rows = writer.execute(
        _INSERT,
        (
            int8s(batch.starts),
            int8s(batch.stops),
            int4s(sites),
            int4s(groups),
            int4s(users),
            texts([key.encode() for key in batch.keys]),
            texts(batch.bodies),
        ),
        prepare=True,
    )
    return {key for (key,) in rows}


def _held(writer: Connection, keys: set[str], *, lock: bool = False) -> dict[str, Held]:
    """The stored records among `keys`; with `lock` nobody else changes them until the transaction ends."""
    if not keys:
        return {}
    # Locked in one order by everybody, so that two callers cannot wait for each other.
    statement = "SELECT record_id, seq, start_us, body FROM records WHERE record_id = ANY(%b)"
    rows = writer.execute(
        statement + " ORDER BY record_id FOR UPDATE" if lock else statement,
        (texts([key.encode() for key in keys]),),
    )
    return {key: Held(seq, start_us, body.encode()) for key, seq, start_us, body in rows}


def _bodies(reader: Connection, question: Question) -> Iterator[bytes]:
    for statement in select_bodies(question, View(records, _PROBE, _resolver(reader))):
        for (body,) in _streamed(reader, compiled(statement, _DIALECT)):
            yield body


def _rows(reader: Connection, question: Question) -> Generator[tuple[Any, int, bytes]]:
    for statement in select_rows(question, View(records, _PROBE, _resolver(reader))):
        yield from _streamed(reader, compiled(statement, _DIALECT))


def _streamed(reader: Connection, statement: Statement) -> Generator[tuple[Any, ...]]:
    with reader.cursor(binary=True) as cursor:
        # Bodies go out as they come in: never decoded.
        cursor.adapters.register_loader("text", ByteaBinaryLoader)
        yield from cursor.stream(statement.text.encode(), statement.values, size=_ROWS_AT_ONCE)


def _execute(connection: Connection) -> Execute:
    def execute(statement: Executable | str) -> list[Any]:
        text, values = written(statement, _DIALECT)
        cursor = connection.execute(text.encode(), values)
        return cursor.fetchall() if cursor.description else []

    return execute


def _session(connection: Connection) -> Session:
    return Session(
        _execute(connection),
        lambda statement: _streamed(connection, written(statement, _DIALECT)),
        lambda signature: intern(connection, [signature])[signature],
    )


@contextmanager
def _snapshot(connection: Connection) -> Iterator[None]:
    """All that is asked on a connection for writes is of one state."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def _resolver(reader: Connection) -> Resolve:
    def resolve(numbers: Select[tuple[int]]) -> list[int]:
        text, values = compiled(numbers, _DIALECT)
        return [number for (number,) in reader.execute(text.encode(), values)]

    return resolve


def _totals(reader: Connection, question: TotalQuestion, archive: Archive) -> list[Total]:
    def ask(statement: Select[Any]) -> list[Any]:
        text, values = compiled(statement, _DIALECT)
        return reader.execute(text.encode(), values).fetchmany(ROWS_MAX + 1)

    tally = Tally(question)
    parts = list(parts_of(question, View(records, _PROBE, _resolver(reader))))
    for part in parts:
        tally.add(part, ask(part.statement(True)))
    archive.add_totals(_execute(reader), question, parts, tally)
    rows = reader.execute(b"SELECT no, value FROM facets WHERE no = ANY(%s)", (list(tally.facet_numbers()),))
    return tally.totals(dict(rows.fetchall()))
