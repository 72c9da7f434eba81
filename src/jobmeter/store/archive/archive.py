"""The archive as a record store uses it: what is archived is found, asked together with what is not, and taken back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import delete, insert

from jobmeter.contract import StoreUnavailable
from jobmeter.model.question import Column, Order, Question
from jobmeter.model.total import TotalQuestion
from jobmeter.store.archive import ledger
from jobmeter.store.archive.conditions import all_of, clauses
from jobmeter.store.archive.engine import Engine
from jobmeter.store.archive.grouping import Grouping
from jobmeter.store.archive.ids import IdSet, unpacked
from jobmeter.store.archive.layout import KEY, body, meta_column
from jobmeter.store.archive.ledger import ArchiveFile, Execute
from jobmeter.store.archive.months import in_its_months
from jobmeter.store.archive.reading import Reader, interleaved, relevant
from jobmeter.store.archive.shred import split_key
from jobmeter.store.archive.sums import add_bodies
from jobmeter.store.core import core_in
from jobmeter.store.facet import Numbers, Signature
from jobmeter.store.grouped import Part
from jobmeter.store.kept_counts import Word
from jobmeter.store.paging import Row
from jobmeter.store.row import key_of, storable
from jobmeter.store.tables import records
from jobmeter.store.tally import ROWS_MAX, Tally

_BLOCK = 1000


class Archived(Struct, frozen=True):
    """An archived record: where it is, and what its row was."""

    file: int
    seq: int
    start_us: int
    stop_us: int
    key: str
    body: bytes
    since_us: int | None


class _Facets(Struct, frozen=True):
    """The meta of a body, as far as facets need it."""

    meta: dict[str, tuple[str, ...]] | None


_decode_meta = msgspec.json.Decoder(_Facets).decode


class Archive:
    """The files of one database. Threads may share it. `folder` is where they lie now, if not where they were made."""

    def __init__(self) -> None:
        self.engine = Engine()
        self.folder: Path | None = None
        self._reader = Reader(self.engine, self.locate)
        self._lock = Lock()
        self._ids = IdSet()
        self._known = 0
        self._listed: tuple[ledger.State, tuple[ArchiveFile, ...]] | None = None

    def locate(self, file: ArchiveFile) -> Path:
        """Where the file is. Raises StoreUnavailable when it is not there: an answer without it would not be whole."""
        made = Path(file.path)
        for path in (made,) if self.folder is None else (self.folder / made.name, made):
            if path.exists():
                return path
        raise StoreUnavailable(f"the archive file {file.path} is missing")

    def relevant(self, execute: Execute, question: Question) -> list[ArchiveFile]:
        """The files that may hold an answer."""
        files = relevant(self._files(execute), question)
        if question.record_id is None or not files:
            return in_its_months(execute, files, question)
        if not storable(question.record_id):
            return []
        key = key_of(question.record_id)
        numbers = set(self._files_of(execute, [key]).get(key, ()))
        return [file for file in files if file.number in numbers]

    def with_hot(self, files: Sequence[ArchiveFile], question: Question, hot: Iterator[Row]) -> Iterator[Row]:
        """The matching rows of files and database in order; `hot` are those of the database."""
        first = None
        if question.order.column is Column.STOP_TIME:
            stops = [file.last_stop_us if question.order.descending else file.first_stop_us for file in files]
            first = max(stops) if question.order.descending else min(stops)
        return interleaved(first, self._reader.rows(files, question), hot, question.order)

    def add_totals(self, execute: Execute, question: TotalQuestion, parts: Sequence[Part], tally: Tally) -> None:
        """Add what the archive holds of an answer to what the database gave."""
        where = replace(question.where, order=Order(), limit=None, after=None)
        for file in self.relevant(execute, where):
            try:
                found = self._grouped(file, question, where, parts)
            except OverflowError:
                # More than DuckDB can count: record by record, with numbers of any size.
                add_bodies(tally, question, parts, self._reader.bodies(file, where))
                continue
            for part, rows in zip(parts, found, strict=True):
                tally.add(part, rows)
            if file.whole:
                add_bodies(tally, question, parts, self._reader.bodies(file, where, only_whole=True))

    def _grouped(
        self, file: ArchiveFile, question: TotalQuestion, where: Question, parts: Sequence[Part]
    ) -> list[list[tuple[Any, ...]]]:
        """The rows of each part, of the records that are not kept whole. Raises OverflowError."""
        grouping = Grouping(question, file.layout)
        condition = all_of(clauses(file, where))
        values = [str(self.locate(file)), *condition.values]
        return [
            grouping.rows(part, self.engine.rows(grouping.statement(part, condition), values), ROWS_MAX + 1)
            for part in parts
        ]

    def held(self, execute: Execute, keys: Collection[str]) -> dict[str, Archived]:
        """Those of `keys` that are archived and not back in the database."""
        if not keys or not ledger.newest(execute):
            return {}
        by_file: dict[int, list[str]] = {}
        for key, numbers in self._files_of(execute, keys).items():
            for number in numbers:
                by_file.setdefault(number, []).append(key)
        if not by_file:
            return {}
        files = {file.number: file for file in self._files(execute)}
        found: dict[str, Archived] = {}
        for number, wanted in by_file.items():
            if number in files:
                found |= {one.key: one for one in self._held_in(files[number], wanted)}
        return found

    def _held_in(self, file: ArchiveFile, keys: Sequence[str]) -> Iterator[Archived]:
        numbers = [number for _, number in map(split_key, keys) if number is not None]
        low, high = (min(numbers), max(numbers)) if numbers else (0, -1)
        without = len(numbers) < len(keys)
        statement = (
            f"SELECT {_columns(file)} FROM read_parquet(?) "  # noqa: S608 - columns, quoted
            f"WHERE (id_number BETWEEN ? AND ? {'OR id_number IS NULL' if without else ''}) "
            f"AND {KEY} IN (SELECT unnest(?)) AND seq NOT IN (SELECT unnest(?))"
        )
        values = [str(self.locate(file)), low, high, list(keys), list(file.recalled)]
        for row in self.engine.rows(statement, values):
            yield _archived(file, row)

    def everything(self, file: ArchiveFile) -> Iterator[list[Archived]]:
        """All records of a file that are not back in the database, in blocks."""
        statement = (
            f"SELECT {_columns(file)} FROM read_parquet(?) "  # noqa: S608 - columns, quoted
            "WHERE seq NOT IN (SELECT unnest(?))"
        )
        block: list[Archived] = []
        for row in self.engine.rows(statement, [str(self.locate(file)), list(file.recalled)]):
            block.append(_archived(file, row))
            if len(block) == _BLOCK:
                yield block
                block = []
        if block:
            yield block

    def words(self, execute: Execute, keys: Collection[str]) -> dict[Word, int]:
        """How many archived records hold each value under each of the meta keys."""
        counted: dict[Word, int] = {}
        for file in self._files(execute):
            for key in keys:
                for value, count in self._values(file, key):
                    counted[key, value] = counted.get((key, value), 0) + count
        return counted

    def close(self) -> None:
        """Release what is open."""
        self.engine.close()

    def _files(self, execute: Execute) -> Sequence[ArchiveFile]:
        """All listed files; read again when the list has changed."""
        state = ledger.state(execute)
        if not state[0]:
            return ()
        known = self._listed
        if known is None or known[0] != state:
            known = self._listed = state, tuple(ledger.files(execute))
        return known[1]

    def _files_of(self, execute: Execute, keys: Iterable[str]) -> dict[str, list[int]]:
        with self._lock:
            for number, ids in ledger.ids_since(execute, self._known):
                self._ids.add(number, unpacked(ids))
                self._known = number
            ids_now = self._ids
        found = ((key, ids_now.files_of(key)) for key in keys)
        return {key: numbers for key, numbers in found if numbers}

    def _values(self, file: ArchiveFile, key: str) -> Iterator[tuple[str, int]]:
        """The values under a key, each with its number of records that are not back in the database."""
        values: list[Any] = []
        lists = [f"CASE WHEN whole IS NULL THEN {meta_column(key)} END"] if key in file.layout.meta else []
        if file.whole:
            lists.append("CAST(json_extract(whole, '$.meta') AS MAP(VARCHAR, VARCHAR[]))[?]")
            values.append(key)
        if not lists:
            return
        statement = (
            f"SELECT v, count(*) FROM (SELECT unnest(list_distinct(coalesce({', '.join(lists)}))) AS v "  # noqa: S608 - columns, quoted
            "FROM read_parquet(?) WHERE seq NOT IN (SELECT unnest(?))) GROUP BY v"
        )
        yield from self.engine.rows(statement, [*values, str(self.locate(file)), list(file.recalled)])


def _columns(file: ArchiveFile) -> str:
    """What an Archived is made of, as SQL."""
    layout = file.layout
    return f"seq, {layout.start_us}, {layout.stop_us}, {KEY}, {body(layout)}, {layout.since_us}"


def _archived(file: ArchiveFile, row: tuple[Any, ...]) -> Archived:
    seq, start_us, stop_us, key, text, since_us = row
    return Archived(file.number, seq, start_us, stop_us, key, text.encode(), since_us)


def without_archived(archive: Archive, execute: Execute, new: set[str]) -> dict[str, bytes]:
    """Take out of the database, and of `new`, what was just added and is archived; the bodies that are archived.

    Within the transaction that added them: nobody else has seen these rows. Asked after adding, because a row that
    another process was archiving meanwhile is listed by then.
    """
    held = archive.held(execute, new)
    if held:
        execute(delete(records).where(records.c.record_id.in_(list(held))))
        new.difference_update(held)
    return {key: one.body for key, one in held.items()}


def recall(execute: Execute, found: Collection[Archived], numbers: Callable[[Signature], Numbers]) -> None:
    """Put archived records into the database again, with their numbers of insertion, to be changed there."""
    put_back(execute, found, numbers)
    for one in found:
        ledger.recall(execute, one.file, one.seq)


def put_back(execute: Execute, found: Collection[Archived], numbers: Callable[[Signature], Numbers]) -> None:
    """The rows alone; the caller tells the ledger."""
    for one in found:
        site, group, user = numbers(signature(one.body))
        execute(
            insert(records).values(
                seq=one.seq,
                start_us=one.start_us,
                stop_us=one.stop_us,
                site=site,
                grp=group,
                usr=user,
                record_id=one.key,
                core=core_in(one.body, one.key, one.start_us, one.stop_us).decode(),
                since_us=one.since_us,
            )
        )


def signature(record_body: bytes) -> Signature:
    """What decides the facets of a stored record."""
    get = (_decode_meta(record_body).meta or {}).get
    return get("site_id"), get("site"), get("group_id"), get("group"), get("user_id"), get("user")
