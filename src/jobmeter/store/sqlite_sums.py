"""Totals and rollups in SQLite."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from msgspec import Struct
from sqlalchemy import ColumnElement, Select, and_, func, or_
from sqlalchemy.dialects import sqlite as sqlite_dialect

from jobmeter.model.question import Question, Scope
from jobmeter.store import kept_counts
from jobmeter.store.archive.archive import Archive
from jobmeter.store.books import Books
from jobmeter.store.core import json_of
from jobmeter.store.exact import ExactSum, exact_add, fitting
from jobmeter.store.grouped import Part
from jobmeter.store.past import rows_at
from jobmeter.store.probe import SqliteProbe
from jobmeter.store.read_sums import Row
from jobmeter.store.rollup import (
    BY_SITE,
    FINE,
    FOLD_BATCHES,
    Kind,
    State,
    Sums,
    kind_of,
    name_digest,
    select_cores,
)
from jobmeter.store.row import Change, storable
from jobmeter.store.sqlite_facets import interned
from jobmeter.store.sqlite_reading import executing
from jobmeter.store.statement import View, compiled, select_for_sums
from jobmeter.store.tables import records
from jobmeter.store.tally import ROWS_MAX

_DIALECT = sqlite_dialect.dialect(paramstyle="named")

_CHANGES = "record_changes"

RANGES_MAX = 50
"""More separate ranges of pending records than these are not listed in a statement."""


def teach(connection: sqlite3.Connection) -> None:
    """Give `connection` the functions that the statements here use."""
    connection.create_aggregate("exact_sum", -1, ExactSum)  # type: ignore[arg-type]
    connection.create_function("exact_add", 2, exact_add, deterministic=True)


class Batches(Struct, frozen=True):
    """Batches that are pending: their numbers in the table, and the ranges of records that they are together."""

    numbers: list[int]
    ranges: list[tuple[int, int]]

    def condition(self) -> ColumnElement[bool]:
        """What is true of their records alone; told to be true of few, or an index of times would be gone through."""
        seq = records.c.seq
        return or_(*[and_(func.unlikely(seq >= low), func.unlikely(seq <= high)) for low, high in self.ranges])


class SqliteSource:
    """The Source of the contract of `totalling`, on a connection in a transaction."""

    def __init__(self, reader: sqlite3.Connection, as_of_us: int | None = None) -> None:
        self._reader = reader
        rows = rows_at(as_of_us)
        self.view = View(rows, SqliteProbe(rows), self._numbers)

    def _numbers(self, statement: Select[tuple[int]]) -> list[int]:
        return [number for (number,) in self._reader.execute(*compiled(statement, _DIALECT))]

    def rows_of(self, part: Part) -> Sequence[Sequence[Any]]:
        """See Source."""
        return _exact(self._reader, part.statement, part.sums_from)

    def read(self, where: Question, only: ColumnElement[bool] | None, *, with_ids: bool) -> Iterator[Row]:
        """See Source."""
        return self._reader.execute(*compiled(select_for_sums(where, self.view, only, with_ids=with_ids), _DIALECT))

    def bodies(self, only: ColumnElement[bool] | None) -> Iterator[bytes]:
        """The meta and components of the records of which `only` is true, as JSON."""
        for _, _, core in self.read(Question(Scope.everything()), only, with_ids=False):
            yield json_of(core)

    def cores(self, only: ColumnElement[bool] | None) -> Iterable[Sequence[Any]]:
        """See Source."""
        return self._reader.execute(*compiled(select_cores(only), _DIALECT))

    def pending(self) -> tuple[bool, ColumnElement[bool] | None]:
        """See Source."""
        waiting = batches(self._reader, -1)
        few = 0 < len(waiting.ranges) <= RANGES_MAX
        return bool(waiting.ranges), waiting.condition() if few else None

    def kinds(self, component: str) -> dict[int, Kind]:
        """See Source."""
        if not storable(component):
            return {}
        rows = self._reader.execute(
            "SELECT no, value FROM rollup_kinds WHERE name_digest = ?", (name_digest(component),)
        )
        return {number: kind_of(value) for number, value in rows}

    def facets(self, numbers: Iterable[int]) -> dict[int, str]:
        """See Source."""
        listed = json.dumps(list(numbers))
        rows = self._reader.execute(
            "SELECT no, value FROM facets WHERE no IN (SELECT value FROM json_each(?))", (listed,)
        ).fetchall()
        return {number: value if isinstance(value, str) else str(value, "utf-8") for number, value in rows}

    def counts(self, column: str) -> list[tuple[str, int]]:
        """The dictionary's entries in `column`, each with its number of records; "{}" stands for none."""
        level = BY_SITE if column == "site" else FINE
        counted = dict(
            self._reader.execute(f"SELECT {column}, sum(n) FROM rollups WHERE level = {level} GROUP BY {column}")  # noqa: S608 - a name of ours
        )
        waiting = batches(self._reader, -1)
        for low, high in waiting.ranges:
            rows = self._reader.execute(
                f"SELECT coalesce({column}, 0), count(*) FROM records WHERE seq BETWEEN ? AND ? GROUP BY {column}",  # noqa: S608
                (low, high),
            )
            for number, count in rows:
                counted[number] = counted.get(number, 0) + count
        entries = self.facets(number for number in counted if number)
        return [(entries.get(number, "{}"), count) for number, count in counted.items()]


def batches(connection: sqlite3.Connection, limit: int) -> Batches:
    """At most `limit` batches that are pending, the oldest first; -1: all."""
    rows = connection.execute("SELECT no, low, high FROM rollup_pending ORDER BY no LIMIT ?", (limit,)).fetchall()
    return Batches([number for number, _, _ in rows], list(_joined(sorted((low, high) for _, low, high in rows))))


def _joined(ranges: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The same ranges, neighbours joined."""
    start: int | None = None
    end = 0
    for low, high in ranges:
        if start is not None and low == end + 1:
            end = high
            continue
        if start is not None:
            yield start, end
        start, end = low, high
    if start is not None:
        yield start, end


def sums_of(connection: sqlite3.Connection, only: ColumnElement[bool] | None) -> Sums:
    """What the records add up to of which `only` is true."""
    sums = Sums(kept_counts.followed(executing(connection)))
    rows = connection.execute(*compiled(select_cores(only), _DIALECT))
    # A connection for writing gives text as such.
    sums.take_rows(rows if connection.text_factory is bytes else ((*row, core.encode()) for *row, core in rows))
    return sums


def rolled_up(connection: sqlite3.Connection) -> Sums:
    """What the rollups hold."""
    whole = kept_counts.ready(executing(connection))
    sums = Sums(whole)
    sums.words = kept_counts.words_held(executing(connection), whole)
    sums.take_rolled(connection.execute("SELECT level, month, site, grp, usr, n, seconds, micros FROM rollups"))
    kinds = {number: kind_of(value) for number, value in connection.execute("SELECT no, value FROM rollup_kinds")}
    rows = connection.execute(
        "SELECT kind, level, month, site, grp, usr, n, amount, amount_seconds FROM rollup_amounts"
    )
    sums.take_kinds((kinds[kind], *rest) for kind, *rest in rows)
    return sums


def is_pending(writer: sqlite3.Connection, seq: int) -> bool:
    """Whether the record is in no rollup yet."""
    row = writer.execute("SELECT 1 FROM rollup_pending WHERE ? BETWEEN low AND high LIMIT 1", (seq,)).fetchone()
    return row is not None


def note_batch(writer: sqlite3.Connection, last: int) -> None:
    """The records behind `last` are pending."""
    writer.execute(
        "INSERT INTO rollup_pending (low, high) SELECT min(seq), max(seq) FROM records WHERE seq > ?", (last,)
    )


def take_batches(writer: sqlite3.Connection, some: Batches) -> None:
    """They are not pending any more."""
    writer.executemany("DELETE FROM rollup_pending WHERE no = ?", [(number,) for number in some.numbers])


def changes_of(connection: sqlite3.Connection) -> int:
    """How often stored records were changed."""
    row = connection.execute("SELECT value FROM counters WHERE name = ?", (_CHANGES,)).fetchone()
    return 0 if row is None else int(row[0])


def note_change(writer: sqlite3.Connection) -> None:
    """Count a change of stored records, so that sums that were read before it are known to be of the past."""
    writer.execute(
        "INSERT INTO counters (name, value) VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET value = value + 1",
        (_CHANGES,),
    )


class Pending(Struct, frozen=True):
    """Batches, what their records add up to, and how often records had been changed when that was read."""

    some: Batches
    sums: Sums
    changes: int


def read_pending(reader: sqlite3.Connection, batches_max: int) -> Pending:
    """The oldest batches that are pending, summed."""
    some = batches(reader, batches_max)
    sums = sums_of(reader, some.condition()) if some.numbers else Sums()
    return Pending(some, sums, changes_of(reader))


def add_folded(writer: sqlite3.Connection, read: Pending, batches_max: int) -> int:
    """Add what was read to the rollups, within the writer's transaction; how many batches."""
    if read.changes != changes_of(writer) or batches(writer, len(read.some.numbers)) != read.some:
        # A record was changed, or another process was quicker: what was read is of the past.
        read = read_pending(writer, batches_max)
    take_batches(writer, read.some)
    add_sums(writer, read.sums)
    return len(read.some.numbers)


def fold_all(writer: sqlite3.Connection) -> None:
    """Nothing is pending, within the writer's transaction."""
    while add_folded(writer, read_pending(writer, FOLD_BATCHES), FOLD_BATCHES):
        pass


def books_of(writer: sqlite3.Connection, archive: Archive, now_us: int) -> Books:
    """What changing records needs of the writer's transaction; that they change is noted."""
    note_change(writer)
    numbers, pending, add = partial(interned, writer), partial(is_pending, writer), partial(add_sums, writer)
    return Books(executing(writer), archive, now_us, numbers, pending, add)


def held_sums(reader: sqlite3.Connection) -> Sums:
    """The rollups and what is pending."""
    sums = rolled_up(reader)
    waiting = batches(reader, -1)
    if waiting.numbers:
        sums.add(sums_of(reader, waiting.condition()))
    return sums


def resum(writer: sqlite3.Connection, changes: Sequence[Change]) -> None:
    """Let the rollups follow changes that are to come, of records that are in them."""
    sums = Sums()
    for change in changes:
        if not is_pending(writer, change.seq):
            start, stop, site, grp, usr, body = writer.execute(
                "SELECT start_us, stop_us, site, grp, usr, body FROM records WHERE seq = ?", (change.seq,)
            ).fetchone()
            sums.take(State(start, stop, site, grp, usr, body.encode()), -1)
            sums.take(State(start, change.stop_us, site, grp, usr, change.body), 1)
    if changes:
        add_sums(writer, sums)
        note_change(writer)


def begin_anew(writer: sqlite3.Connection) -> None:
    """Empty the rollups; all records are pending."""
    for table in ("rollups", "rollup_amounts", "rollup_kinds", "rollup_pending", "day_sums"):
        writer.execute(f"DELETE FROM {table}")  # noqa: S608 - a name of ours
    kept_counts.begin_anew(executing(writer))
    writer.execute("INSERT INTO rollup_pending (low, high) SELECT min(seq), max(seq) FROM records GROUP BY seq / 10000")
    note_change(writer)


def add_sums(writer: sqlite3.Connection, sums: Sums) -> None:
    """Add `sums` to the rollups and mark their days, within the writer's transaction; rows that come to nothing go."""
    kept_counts.add(executing(writer), sums.words)
    writer.executemany(
        "INSERT INTO rollups (level, month, site, grp, usr, n, seconds, micros) VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT DO UPDATE SET n = n + excluded.n, seconds = exact_add(seconds, excluded.seconds), "
        "micros = exact_add(micros, excluded.micros)",
        [(*place, *map(fitting, row)) for place, row in sums.times.items()],
    )
    writer.executemany(
        "INSERT INTO day_marks (day, mark) VALUES (?, 1) ON CONFLICT (day) DO UPDATE SET mark = mark + 1",
        [(day,) for day in sums.days],
    )
    kinds = {kind: _interned(writer, kind) for kind in {kind for kind, _ in sums.amounts}}
    writer.executemany(
        "INSERT INTO rollup_amounts (kind, level, month, site, grp, usr, n, amount, amount_seconds) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n, "
        "amount = exact_add(amount, excluded.amount), "
        "amount_seconds = exact_add(amount_seconds, excluded.amount_seconds)",
        [(kinds[kind], *place, *map(fitting, row)) for (kind, place), row in sums.amounts.items()],
    )
    if any(row[0] < 0 for row in sums.times.values()) or any(row[0] < 0 for row in sums.amounts.values()):
        writer.execute("DELETE FROM rollups WHERE n = 0")
        writer.execute("DELETE FROM rollup_amounts WHERE n = 0")


def _interned(writer: sqlite3.Connection, kind: Kind) -> int:
    row = writer.execute("SELECT no FROM rollup_kinds WHERE digest = ?", (kind.digest,)).fetchone()
    if row is None:
        values = (kind.digest, kind.name_digest, kind.value)
        row = writer.execute(
            "INSERT INTO rollup_kinds (digest, name_digest, value) VALUES (?, ?, ?) RETURNING no", values
        ).fetchone()
    return int(row[0])


def _exact(
    connection: sqlite3.Connection, statement: Callable[[bool], Select[Any]], sums_from: int
) -> list[Sequence[Any]]:
    """The rows of a SELECT: by SQLite's own arithmetic where that fits into 64 bits, else by Python's."""
    try:
        rows = connection.execute(*compiled(statement(False), _DIALECT)).fetchmany(ROWS_MAX + 1)
    except sqlite3.OperationalError as fault:
        if fault.sqlite_errorcode != sqlite3.SQLITE_ERROR:
            raise
    else:
        if not any(isinstance(value, float) for row in rows for value in row[sums_from:]):
            return rows
    return connection.execute(*compiled(statement(True), _DIALECT)).fetchmany(ROWS_MAX + 1)
