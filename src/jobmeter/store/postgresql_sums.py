"""Totals and rollups in PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import psycopg
from msgspec import Struct
from sqlalchemy import ARRAY, BigInteger, ColumnElement, Select, any_, literal
from sqlalchemy.dialects.postgresql import psycopg as postgresql_dialect

from jobmeter.model.question import Question, Scope
from jobmeter.store import kept_counts
from jobmeter.store.archive.archive import Archive
from jobmeter.store.books import Books
from jobmeter.store.core import json_of
from jobmeter.store.grouped import Part
from jobmeter.store.packed import byteas, int4s, int8s, texts
from jobmeter.store.past import rows_at
from jobmeter.store.postgresql_facets import intern
from jobmeter.store.postgresql_reading import executing, streamed
from jobmeter.store.probe import PostgresqlProbe
from jobmeter.store.read_sums import Row
from jobmeter.store.rollup import BY_SITE, FINE, Kind, State, Sums, kind_of, name_digest, select_cores
from jobmeter.store.row import Change, storable
from jobmeter.store.session import Connection
from jobmeter.store.statement import View, compiled, select_for_sums
from jobmeter.store.tables import records
from jobmeter.store.tally import ROWS_MAX

_DIALECT = postgresql_dialect.dialect()  # type: ignore[no-untyped-call]
_CHANGES = "record_changes"
_PENDING_MAX = 200_000
"""More pending records than these are not listed in a statement."""


class Batches(Struct, frozen=True):
    """Batches that are pending: their numbers in the table, and their records."""

    numbers: list[int]
    seqs: list[int]

    def condition(self) -> ColumnElement[bool]:
        """What is true of their records alone."""
        return records.c.seq == any_(literal(self.seqs, ARRAY(BigInteger)))


class PostgresqlSource:
    """The Source of the contract of `totalling`, on a connection in a transaction."""

    def __init__(self, reader: Connection, as_of_us: int | None = None) -> None:
        self._reader = reader
        rows = rows_at(as_of_us)
        self.view = View(rows, PostgresqlProbe(rows), self._numbers)

    def ask(self, statement: Select[Any]) -> list[Any]:
        """At most ROWS_MAX + 1 rows."""
        text, values = compiled(statement, _DIALECT)
        return self._reader.execute(text.encode(), values).fetchmany(ROWS_MAX + 1)

    def _numbers(self, statement: Select[tuple[int]]) -> list[int]:
        return [number for (number,) in self.ask(statement)]

    def rows_of(self, part: Part) -> Sequence[Sequence[Any]]:
        """See Source."""
        return self.ask(part.statement(True))

    def read(self, where: Question, only: ColumnElement[bool] | None, *, with_ids: bool) -> Iterator[Row]:
        """See Source."""
        statement = select_for_sums(where, self.view, only, with_ids=with_ids)
        return streamed(self._reader, compiled(statement, _DIALECT))

    def bodies(self, only: ColumnElement[bool] | None) -> Iterator[bytes]:
        """The meta and components of the records of which `only` is true, as JSON."""
        for _, _, core in self.read(Question(Scope.everything()), only, with_ids=False):
            yield json_of(core)

    def cores(self, only: ColumnElement[bool] | None) -> Iterable[Sequence[Any]]:
        """See Source."""
        return streamed(self._reader, compiled(select_cores(only), _DIALECT))

    def pending(self) -> tuple[bool, ColumnElement[bool] | None]:
        """See Source."""
        waiting = batches(self._reader, None)
        few = 0 < len(waiting.seqs) <= _PENDING_MAX
        return bool(waiting.seqs), waiting.condition() if few else None

    def kinds(self, component: str) -> dict[int, Kind]:
        """See Source."""
        if not storable(component):
            return {}
        rows = self._reader.execute(
            b"SELECT no, value FROM rollup_kinds WHERE name_digest = %s", (name_digest(component),)
        )
        return {number: kind_of(value) for number, value in rows}

    def facets(self, numbers: Iterable[int]) -> dict[int, str]:
        """See Source."""
        rows = self._reader.execute(b"SELECT no, value FROM facets WHERE no = ANY(%s)", (list(numbers),))
        return dict(rows.fetchall())

    def counts(self, column: str) -> list[tuple[str, int]]:
        """The dictionary's entries in `column`, each with its number of records; "{}" stands for none."""
        level = BY_SITE if column == "site" else FINE
        rows = self._reader.execute(
            f"SELECT no, sum(n)::bigint FROM (SELECT {column} AS no, n FROM rollups WHERE level = {level} UNION ALL "  # noqa: S608 - a name of ours
            f"SELECT coalesce({column}, 0), 1 FROM records "
            "WHERE seq = ANY(ARRAY(SELECT unnest(seqs) FROM rollup_pending))) t GROUP BY no".encode()
        )
        counted: dict[int, int] = dict(rows.fetchall())
        entries = self.facets(number for number in counted if number)
        return [(entries.get(number, "{}"), count) for number, count in counted.items()]


def batches(connection: Connection, limit: int | None) -> Batches:
    """At most `limit` batches that are pending, the oldest first; None: all."""
    rows = connection.execute(b"SELECT no, seqs FROM rollup_pending ORDER BY no LIMIT %s", (limit,)).fetchall()
    return Batches([number for number, _ in rows], [seq for _, seqs in rows for seq in seqs])


def sums_of(connection: Connection, only: ColumnElement[bool] | None) -> Sums:
    """What the records add up to of which `only` is true."""
    sums = Sums(kept_counts.followed(executing(connection)))
    sums.take_rows(streamed(connection, compiled(select_cores(only), _DIALECT)))
    return sums


def rolled_up(connection: Connection) -> Sums:
    """What the rollups hold."""
    whole = kept_counts.ready(executing(connection))
    sums = Sums(whole)
    sums.words = kept_counts.words_held(executing(connection), whole)
    sums.take_rolled(connection.execute(b"SELECT level, month, site, grp, usr, n, seconds, micros FROM rollups"))
    kinds = {number: kind_of(value) for number, value in connection.execute(b"SELECT no, value FROM rollup_kinds")}
    rows = connection.execute(
        b"SELECT kind, level, month, site, grp, usr, n, amount, amount_seconds FROM rollup_amounts"
    )
    sums.take_kinds((kinds[kind], *rest) for kind, *rest in rows)
    return sums


def pending_among(writer: Connection, seqs: Sequence[int]) -> set[int]:
    """Those of `seqs` that are in no rollup yet."""
    rows = writer.execute(
        b"SELECT s.seq FROM unnest(%b) AS s (seq) WHERE EXISTS (SELECT FROM rollup_pending p "
        b"WHERE p.low <= s.seq AND p.high >= s.seq AND s.seq = ANY(p.seqs))",
        (int8s(seqs),),
    )
    return {seq for (seq,) in rows}


def changes_of(connection: Connection, *, lock: bool = False) -> int:
    """How often stored records were changed; with `lock` nobody changes any until the transaction ends."""
    statement = b"SELECT value FROM counters WHERE name = %s" + (b" FOR UPDATE" if lock else b"")
    row = connection.execute(statement, (_CHANGES,)).fetchone()
    return 0 if row is None else int(row[0])


def note_change(writer: Connection) -> None:
    """Count a change of stored records. Until the transaction ends nobody else changes any or folds: call it first."""
    writer.execute(
        b"INSERT INTO counters (name, value) VALUES (%s, 1) "
        b"ON CONFLICT (name) DO UPDATE SET value = counters.value + 1",
        (_CHANGES,),
    )


def take_batches(writer: Connection, some: Batches) -> bool:
    """They are not pending any more; whether all of them still were."""
    cursor = writer.execute(b"DELETE FROM rollup_pending WHERE no = ANY(%b)", (int8s(some.numbers),))
    return cursor.rowcount == len(some.numbers)


class Pending(Struct, frozen=True):
    """Batches, what their records add up to, and how often records had been changed when that was read."""

    some: Batches
    sums: Sums
    changes: int


def read_pending(reader: Connection, batches_max: int) -> Pending:
    """The oldest batches that are pending, summed."""
    some = batches(reader, batches_max)
    sums = sums_of(reader, some.condition()) if some.numbers else Sums()
    return Pending(some, sums, changes_of(reader))


def add_folded(writer: Connection, read: Pending) -> bool:
    """Add what was read to the rollups in a transaction, unless it is of the past."""
    fresh = False
    with writer.transaction() as transaction:
        fresh = read.changes == changes_of(writer, lock=True) and take_batches(writer, read.some)
        if not fresh:
            raise psycopg.Rollback(transaction)
        add_sums(writer, read.sums)
    return fresh


def fold_alone(writer: Connection, batches_max: int) -> int:
    """Fold within the writer's transaction, while nobody else may change a record or fold; how many batches."""
    note_change(writer)
    read = read_pending(writer, batches_max)
    add_sums(writer, read.sums)
    take_batches(writer, read.some)
    return len(read.some.numbers)


def books_of(writer: Connection, archive: Archive, now_us: int) -> Books:
    """What changing records needs of the writer's transaction; that they change is noted."""
    note_change(writer)
    return Books(
        executing(writer),
        archive,
        now_us,
        lambda signature: intern(writer, [signature])[signature],
        lambda seq: seq in pending_among(writer, [seq]),
        partial(add_sums, writer),
    )


def held_sums(reader: Connection) -> Sums:
    """The rollups and what is pending."""
    sums = rolled_up(reader)
    sums.add(sums_of(reader, batches(reader, None).condition()))
    return sums


def resum(writer: Connection, changes: Sequence[Change]) -> None:
    """Let the rollups follow changes that are to come, of records that are in them."""
    waiting = pending_among(writer, [change.seq for change in changes])
    rolled = {change.seq: change for change in changes if change.seq not in waiting}
    rows = writer.execute(
        b"SELECT seq, start_us, stop_us, site, grp, usr, records.body FROM records WHERE seq = ANY(%b)",
        (int8s([*rolled]),),
    )
    sums = Sums()
    for seq, start, stop, site, grp, usr, body in rows:
        sums.take(State(start, stop, site, grp, usr, body.encode()), -1)
        sums.take(State(start, rolled[seq].stop_us, site, grp, usr, rolled[seq].body), 1)
    add_sums(writer, sums)


def begin_anew(writer: Connection) -> None:
    """Empty the rollups; all records are pending. Within a transaction."""
    note_change(writer)
    # Whoever stores records now waits, or their batch would be noted twice.
    writer.execute(b"LOCK TABLE rollup_pending IN ACCESS EXCLUSIVE MODE")
    for table in ("rollups", "rollup_amounts", "rollup_kinds", "rollup_pending", "day_sums"):
        writer.execute(f"DELETE FROM {table}".encode())  # noqa: S608 - a name of ours
    kept_counts.begin_anew(executing(writer))
    writer.execute(
        b"INSERT INTO rollup_pending (low, high, seqs) SELECT min(seq), max(seq), array_agg(seq) FROM records "
        b"GROUP BY seq / 10000"
    )


def add_sums(writer: Connection, sums: Sums) -> None:
    """Add `sums` to the rollups and mark their days, within the writer's transaction; rows that come to nothing go."""
    kept_counts.add(executing(writer), sums.words)
    if sums.days:
        writer.execute(
            "INSERT INTO day_marks AS m (day, mark) SELECT day, 1 FROM unnest(%b) AS t (day) "
            "ON CONFLICT (day) DO UPDATE SET mark = m.mark + 1",
            (int4s(sorted(sums.days)),),
        )
    times = sorted(sums.times.items())
    if times:
        writer.execute(
            "INSERT INTO rollups AS r (level, month, site, grp, usr, n, seconds, micros) "
            "SELECT l, a, b, c, d, n, x::numeric, y::numeric FROM unnest(%b, %b, %b, %b, %b, %b, %b, %b) "
            "AS t (l, a, b, c, d, n, x, y) ON CONFLICT (level, month, site, grp, usr) DO UPDATE SET "
            "n = r.n + excluded.n, seconds = r.seconds + excluded.seconds, micros = r.micros + excluded.micros",
            (*_columns([place for place, _ in times]), *_numbers([row for _, row in times])),
        )
    kinds = _interned(writer, {kind for kind, _ in sums.amounts})
    amounts = sorted(((kinds[kind], *place), row) for (kind, place), row in sums.amounts.items())
    if amounts:
        writer.execute(
            "INSERT INTO rollup_amounts AS r (kind, level, month, site, grp, usr, n, amount, amount_seconds) "
            "SELECT k, l, a, b, c, d, n, x::numeric, y::numeric FROM unnest(%b, %b, %b, %b, %b, %b, %b, %b, %b) "
            "AS t (k, l, a, b, c, d, n, x, y) ON CONFLICT (kind, level, month, site, grp, usr) DO UPDATE SET "
            "n = r.n + excluded.n, amount = r.amount + excluded.amount, "
            "amount_seconds = r.amount_seconds + excluded.amount_seconds",
            (*_columns([key for key, _ in amounts]), *_numbers([row for _, row in amounts])),
        )
    if any(row[0] < 0 for row in (*sums.times.values(), *sums.amounts.values())):
        writer.execute(b"DELETE FROM rollups WHERE n = 0")
        writer.execute(b"DELETE FROM rollup_amounts WHERE n = 0")


def _columns(keys: Sequence[Sequence[int]]) -> list[object]:
    return [int4s(column) for column in zip(*keys, strict=True)]


def _numbers(rows: Sequence[Sequence[int]]) -> list[object]:
    counts, *others = zip(*rows, strict=True)
    return [int8s(counts), *[texts([str(number).encode() for number in column]) for column in others]]


def _interned(writer: Connection, kinds: Iterable[Kind]) -> dict[Kind, int]:
    by_digest = {kind.digest: kind for kind in kinds}
    ordered = sorted(by_digest)
    if not ordered:
        return {}
    writer.execute(
        "INSERT INTO rollup_kinds (digest, name_digest, value) SELECT * FROM unnest(%b, %b, %b) "
        "ON CONFLICT (digest) DO NOTHING",
        (
            byteas(ordered),
            byteas([by_digest[digest].name_digest for digest in ordered]),
            texts([by_digest[digest].value.encode() for digest in ordered]),
        ),
    )
    rows = writer.execute(b"SELECT digest, no FROM rollup_kinds WHERE digest = ANY(%b)", (byteas(ordered),))
    return {by_digest[digest]: number for digest, number in rows}
