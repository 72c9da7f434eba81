"""Questions to archive files: the rows that match, in order, as they come."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from jobmeter.model.question import Column, Op, Order, Question
from jobmeter.store.archive.assembled import assembled, parts
from jobmeter.store.archive.conditions import Clause, all_of, clauses, key_column
from jobmeter.store.archive.engine import Engine
from jobmeter.store.archive.layout import body
from jobmeter.store.archive.ledger import ArchiveFile
from jobmeter.store.paging import Row


def relevant(files: Iterable[ArchiveFile], question: Question) -> list[ArchiveFile]:
    """The files that can hold an answer, by the times of their records alone."""
    return [file for file in files if _may_answer(file, question)]


def _may_answer(file: ArchiveFile, question: Question) -> bool:
    # A start is never behind the last stop, and never before the first start.
    spans = ((question.stop_time, file.first_stop_us), (question.start_time, file.first_start_us))
    for bounds, first in spans:
        for bound in bounds:
            if bound.op in (Op.GTE, Op.GT, Op.EQUALS) and file.last_stop_us < bound.value:
                return False
            if bound.op in (Op.LTE, Op.LT, Op.EQUALS) and first > bound.value:
                return False
    place = question.after
    if place is None or question.order.column is not Column.STOP_TIME:
        return True
    if not isinstance(place.value, int):
        return question.order.descending
    return file.first_stop_us <= place.value if question.order.descending else file.last_stop_us >= place.value


def sort_key(order: Order) -> Callable[[Row], Any]:
    """What rows are put in order by, as both databases do it."""
    if order.descending:
        if order.column is Column.RECORD_ID:
            return lambda row: (_Reversed(_text(row[0])), row[1])
        return lambda row: (row[0] is not None, 0 if row[0] is None else -row[0], row[1])
    if order.column is Column.RECORD_ID:
        return lambda row: (_text(row[0]), row[1])
    return lambda row: (row[0] is None, row[0] or 0, row[1])


class _Reversed:
    """A value that sorts the other way round."""

    __slots__ = ("value",)

    def __init__(self, value: bytes) -> None:
        self.value = value

    def __lt__(self, other: _Reversed) -> bool:
        return other.value < self.value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Reversed) and other.value == self.value

    __hash__ = None  # type: ignore[assignment]


def _text(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def merged(streams: Sequence[Iterator[Row]], order: Order) -> Iterator[Row]:
    """Rows of streams that are in order, in order. All are closed when this ends, however it ends."""
    try:
        yield from heapq.merge(*streams, key=sort_key(order))
    finally:
        _close(streams)


def _close(streams: Iterable[Iterator[Row]]) -> None:
    for stream in streams:
        if isinstance(stream, Generator):
            stream.close()


def interleaved(first: int | None, cold: Iterator[Row], hot: Iterator[Row], order: Order) -> Iterator[Row]:
    """Both streams in order. `cold` is not touched before its turn, which is at the value `first` at the earliest."""
    key = sort_key(order)
    try:
        waiting = next(hot, None)
        if first is not None:
            edge = key((first, -1, b""))
            while waiting is not None and key(waiting) < edge:
                yield waiting
                waiting = next(hot, None)
        for row in cold:
            place = key(row)
            while waiting is not None and key(waiting) < place:
                yield waiting
                waiting = next(hot, None)
            yield row
        if waiting is not None:
            yield waiting
        yield from hot
    finally:
        _close([cold, hot])


class Reader:
    """Asks files. `locate` gives the place where a file is now."""

    def __init__(self, engine: Engine, locate: Callable[[ArchiveFile], Path]) -> None:
        self._engine = engine
        self._locate = locate

    def rows(self, files: Sequence[ArchiveFile], question: Question) -> Iterator[Row]:
        """The matching rows of all files, in the question's order. Raises StoreUnavailable, at once or on the way.

        Files are opened when their turn comes. The question's limit holds for each file, not for the whole.
        """
        if question.order.column is not Column.STOP_TIME:
            if question.limit is None:
                return self._sorted_whole(files, question)
            return merged(
                [self._first(file, question, _where(file, question), question.limit) for file in files], question.order
            )
        groups = _overlapping(files)
        if question.order.descending:
            groups.reverse()
        read = self._backwards if question.order.descending else self._forwards
        return self._chained(groups, read, question)

    def bodies(self, file: ArchiveFile, question: Question, *, only_whole: bool = False) -> Iterator[bytes]:
        """The matching bodies of a file in any order; with `only_whole` those that are kept whole."""
        where = _where(file, question)
        text = f"({where.text}) AND whole IS NOT NULL" if only_whole else where.text
        yield from (found for _, _, found in self._ask(file, question, text, where.values))

    @staticmethod
    def _chained(
        groups: Sequence[Sequence[ArchiveFile]],
        read: Callable[[ArchiveFile, Question], Iterator[Row]],
        question: Question,
    ) -> Iterator[Row]:
        for group in groups:
            streams = [read(file, question) for file in group]
            yield from streams[0] if len(streams) == 1 else merged(streams, question.order)

    def _forwards(self, file: ArchiveFile, question: Question) -> Iterator[Row]:
        """In the order in which the file is written."""
        where = _where(file, question)
        limit = "" if question.limit is None else f" LIMIT {question.limit:d}"
        yield from self._ask(file, question, f"{where.text}{limit}", where.values)

    def _backwards(self, file: ArchiveFile, question: Question) -> Iterator[Row]:
        """From the last row group to the first: only one is held at a time."""
        where = _where(file, question)
        stop_us = file.layout.stop_us
        left = question.limit
        for low, high in self._windows(file):
            text = f"{where.text} AND {stop_us} >= ? AND {stop_us} <= ? AND stop_time >= ? AND stop_time <= ?"
            values = [*where.values, low, high, low // 1_000_000, high // 1_000_000]
            for row in self._first(file, question, Clause(text, values), left):
                yield row
                left = None if left is None else left - 1
            if left == 0:
                return

    def _windows(self, file: ArchiveFile) -> list[tuple[int, int]]:
        """Ranges of stop times, the latest first, each about a row group; together they are the whole file."""
        statement = (
            "SELECT stats_min_value::BIGINT FROM parquet_metadata(?) WHERE path_in_schema = 'stop_time' "
            "AND stats_min_value IS NOT NULL ORDER BY row_group_id"
        )
        seconds = [first for (first,) in self._engine.rows(statement, [str(self._locate(file))])]
        edges = sorted({first * 1_000_000 for first in seconds[1:]} - {file.first_stop_us})
        lows = [file.first_stop_us, *[edge for edge in edges if edge > file.first_stop_us]]
        highs = [*[low - 1 for low in lows[1:]], file.last_stop_us]
        return list(zip(lows, highs, strict=True))[::-1]

    def _first(self, file: ArchiveFile, question: Question, where: Clause, limit: int | None) -> Iterator[Row]:
        """Matching rows in an order in which the file is not written. With a limit, bodies are made of those only."""
        order = f"{key_column(file.layout, question.order)} {'DESC' if question.order.descending else 'ASC'}, seq"
        if limit is None:
            yield from self._ask(file, question, f"{where.text} ORDER BY {order}", where.values)
            return
        chosen = f"SELECT seq FROM read_parquet(?) WHERE {where.text} ORDER BY {order} LIMIT {limit:d}"  # noqa: S608
        text = f"seq IN ({chosen}) ORDER BY {order}"
        yield from self._ask(file, question, text, [str(self._locate(file)), *where.values])

    def _sorted_whole(self, files: Sequence[ArchiveFile], question: Question) -> Iterator[Row]:
        """All of an order in which the files are not written; what does not fit in memory goes to temporary files."""
        parts, values = [], []
        for file in files:
            where = _where(file, question)
            parts.append(f"{self._select(file, question)} WHERE {where.text}")
            values += [str(self._locate(file)), *where.values]
        if not parts:
            return
        direction = "DESC" if question.order.descending else "ASC"
        statement = f"SELECT * FROM ({' UNION ALL '.join(parts)}) ORDER BY place {direction}, seq"  # noqa: S608 - parts of ours
        for value, seq, text in self._engine.rows(statement, values):
            yield value, seq, text.encode()

    def _ask(self, file: ArchiveFile, question: Question, where: str, values: Sequence[Any]) -> Iterator[Row]:
        if question.record_id is not None:
            yield from self._ask_for_one(file, question, where, values)
            return
        statement = f"{self._select(file, question)} WHERE {where}"
        for value, seq, text in self._engine.rows(statement, [str(self._locate(file)), *values]):
            yield value, seq, text.encode()

    def _ask_for_one(self, file: ArchiveFile, question: Question, where: str, values: Sequence[Any]) -> Iterator[Row]:
        columns = [key_column(file.layout, question.order), "seq", *parts(file.layout)]
        statement = f"SELECT {', '.join(columns)} FROM read_parquet(?) WHERE {where}"  # noqa: S608 - columns, quoted
        for value, seq, *row in self._engine.rows(statement, [str(self._locate(file)), *values]):
            yield value, seq, assembled(file.layout, row)

    @staticmethod
    def _select(file: ArchiveFile, question: Question) -> str:
        return (
            f"SELECT {key_column(file.layout, question.order)} AS place, seq, {body(file.layout)} FROM read_parquet(?)"  # noqa: S608 - columns, quoted
        )


def _where(file: ArchiveFile, question: Question) -> Clause:
    return all_of(clauses(file, question))


def _overlapping(files: Sequence[ArchiveFile]) -> list[list[ArchiveFile]]:
    """Files in groups whose times do not overlap, in order of time."""
    groups: list[list[ArchiveFile]] = []
    end = 0
    for file in sorted(files, key=lambda file: (file.first_stop_us, file.number)):
        if groups and file.first_stop_us <= end:
            groups[-1].append(file)
            end = max(end, file.last_stop_us)
        else:
            groups.append([file])
            end = file.last_stop_us
    return groups
