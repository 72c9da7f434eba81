"""The record store in a PostgreSQL database (13 or newer).

Two pools of connections: a short one for writes and small questions, one for answers that are streamed, so that slow
readers never keep a write waiting. Writes are one statement wherever possible: it is a transaction of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

import psycopg
from psycopg import capabilities
from psycopg.types.string import ByteaBinaryLoader
from sqlalchemy import Select
from sqlalchemy.dialects.postgresql import psycopg as postgresql_dialect

from jobmeter.contract import StoreUnavailable
from jobmeter.model.letter import DeadLetter
from jobmeter.model.outcome import Stopped, Stored
from jobmeter.model.question import Page, Question, Scope
from jobmeter.model.record import Record, RecordStop
from jobmeter.model.total import Total, TotalQuestion
from jobmeter.store.chunks import Chunks
from jobmeter.store.compare import at_most
from jobmeter.store.facet import FACET_OF_NAME, FacetNumbers, Numbers, Signature, totals
from jobmeter.store.letterbox import EVICTED, Bounds, letter_of, letter_row
from jobmeter.store.packed import int4s, int8s, texts
from jobmeter.store.paging import page_of
from jobmeter.store.pool import Pool
from jobmeter.store.postgresql_facets import intern
from jobmeter.store.postgresql_sums import (
    Batches,
    PostgresqlSource,
    add_folded,
    add_sums,
    batches,
    begin_anew,
    changes_of,
    fold_alone,
    note_change,
    pending_among,
    rolled_up,
    sums_of,
)
from jobmeter.store.probe import PostgresqlProbe
from jobmeter.store.rollup import FOLD_BATCHES, State, Sums
from jobmeter.store.row import Batch, Change, Held, batch_of, key_of, outcomes, stopped, storable
from jobmeter.store.session import Connection, alive, answer_within, answering, connect, end
from jobmeter.store.statement import Resolve, Statement, View, compiled, select_bodies, select_rows
from jobmeter.store.tables import records
from jobmeter.store.totalling import total

_DIALECT = postgresql_dialect.dialect()  # type: ignore[no-untyped-call]
_PROBE = PostgresqlProbe(records.c.body)

# How many rows the driver holds at a time. A row may have 2 MiB; libpq before 17 can only give them one by one.
_ROWS_AT_ONCE = 64 if capabilities.has_stream_chunked() else 1

_ATTEMPTS = 5
"""Two writers that add the same new ids in different orders lock each other; one is told to try again."""

_INSERT = """WITH added AS (
        INSERT INTO records (start_us, stop_us, site, grp, usr, record_id, body)
        SELECT * FROM unnest(%b, %b, %b, %b, %b, %b, %b) ON CONFLICT (record_id) DO NOTHING RETURNING seq, record_id
    ), noted AS (
        INSERT INTO rollup_pending (low, high, seqs)
        SELECT min(seq), max(seq), array_agg(seq) FROM added HAVING count(*) > 0
    )
    SELECT record_id FROM added"""

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

    def put(self, records: Sequence[Record]) -> list[Stored]:
        """See RecordStore."""
        batch = batch_of(records)
        if not batch.keys:
            return outcomes(batch, (), {})

        def work(writer: Connection) -> list[Stored]:
            new = _insert(writer, batch, self._numbers_of(writer, batch))
            rest = set(batch.keys) - new
            stored = {key: held.body for key, held in _held(writer, rest).items()}
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
                answers, changes = stopped(stops, _held(writer, keys, lock=True))
                if changes:
                    _resum(writer, changes)
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
        with answering(), self._writers.lend() as writer:
            found = list(_bodies(writer, Question(scope, record_id=record_id)))
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
                yield from islice(_bodies(reader, question), at_most(question.limit))

        return Chunks(rows(), release)

    def totals(self, question: TotalQuestion) -> list[Total]:
        """See RecordStore."""
        with answering(), self._readers.lend() as reader, reader.transaction():
            return total(question, PostgresqlSource(reader))

    def fold(self, batches_max: int = FOLD_BATCHES) -> int:
        """See RecordStore."""

        def work(writer: Connection) -> int:
            some, sums, changes = self._pending_sums(batches_max)
            if not some.numbers or add_folded(writer, some, sums, changes):
                return len(some.numbers)
            return fold_alone(writer, batches_max)

        return self._write(work)

    def _pending_sums(self, batches_max: int) -> tuple[Batches, Sums, int]:
        with self._readers.lend() as reader, reader.transaction():
            some = batches(reader, batches_max)
            sums = sums_of(reader, some.condition()) if some.numbers else Sums()
            return some, sums, changes_of(reader)

    def check_rollups(self) -> list[str]:
        """See RecordStore."""
        with answering(), self._readers.lend() as reader, reader.transaction():
            waiting = batches(reader, None)
            held = rolled_up(reader)
            held.add(sums_of(reader, waiting.condition()))
            return list(held.without_nothing().differences(sums_of(reader, None)))

    def rebuild_rollups(self) -> None:
        """See RecordStore."""

        def work(writer: Connection) -> None:
            with writer.transaction():
                begin_anew(writer)

        self._write(work)

    def page(self, question: Question, bytes_max: int) -> Page:
        """See RecordStore."""
        with answering(), self._readers.lend() as reader:
            page = page_of(lambda asked: _rows(reader, asked), question, bytes_max)
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
        column = "site" if facet is None else FACET_OF_NAME[facet].column
        with answering(), self._writers.lend() as writer:
            counted = PostgresqlSource(writer).counts(column)
        return {"": sum(count for _, count in counted)} if facet is None else totals(counted)

    def ping(self) -> None:
        """See RecordStore."""
        with answering(), self._writers.lend() as writer:
            answer_within(writer, 2.0)

    def close(self) -> None:
        """See RecordStore."""
        self._readers.close()
        self._writers.close()

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


def _resum(writer: Connection, changes: Sequence[Change]) -> None:
    """Let the rollups follow the changes of records that are in them."""
    waiting = pending_among(writer, [change.seq for change in changes])
    rolled = {change.seq: change for change in changes if change.seq not in waiting}
    rows = writer.execute(
        b"SELECT seq, start_us, stop_us, site, grp, usr, body FROM records WHERE seq = ANY(%b)", (int8s([*rolled]),)
    )
    sums = Sums()
    for seq, start, stop, site, grp, usr, body in rows:
        sums.take(State(start, stop, site, grp, usr, body.encode()), -1)
        sums.take(State(start, rolled[seq].stop_us, site, grp, usr, rolled[seq].body), 1)
    add_sums(writer, sums)


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


def _resolver(reader: Connection) -> Resolve:
    def resolve(numbers: Select[tuple[int]]) -> list[int]:
        text, values = compiled(numbers, _DIALECT)
        return [number for (number,) in reader.execute(text.encode(), values)]

    return resolve
