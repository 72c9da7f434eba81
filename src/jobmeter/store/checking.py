"""Whether kept sums are what the records add up to: rollups, and sums of days in the same pass over the records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import and_, or_, select

from jobmeter.model.total import TooManyGroups, TotalQuestion
from jobmeter.store.archive.archive import Archive
from jobmeter.store.archive.ledger import Execute
from jobmeter.store.compare import floor_of
from jobmeter.store.day_sums import SheetFaulty, day_text, on_day, question_of, read_sheet, stop_days
from jobmeter.store.grouped import DAY_US, parts_of
from jobmeter.store.read_sums import BLOCK_RECORDS, Reading
from jobmeter.store.rollup import Sums
from jobmeter.store.tables import day_marks, day_questions, day_sums, records
from jobmeter.store.tally import Tally
from jobmeter.store.totalling import Source, archived_sums


def check_sums(held: Sums, source: Source, archive: Archive, execute: Execute) -> list[str]:
    """A sentence for each place where `held`, the rollups, or a sheet is not what the records add up to."""
    expected = archived_sums(archive, execute)
    some, only = source.pending()
    if some and only is None:  # which days are settled cannot be told
        expected.take_rows(source.cores(None))
        return list(held.differences(expected))
    unsettled = set() if only is None else set(stop_days(execute, only))
    checking = _Checking(source, archive, execute, unsettled)
    amiss = [*checking.sheets(expected), *checking.marks(expected)]
    return [*held.differences(expected), *amiss]


class _Sheet(Struct, frozen=True):
    digest: bytes
    question: TotalQuestion


class _Checking:
    """The sheets of one view of a database. Days that are `unsettled` are summed from their records."""

    def __init__(self, source: Source, archive: Archive, execute: Execute, unsettled: set[int]) -> None:
        self._source = source
        self._archive = archive
        self._execute = execute
        self._unsettled = unsettled
        self._marks: dict[int, int] = dict(map(tuple, execute(select(day_marks.c.day, day_marks.c.mark))))

    def sheets(self, expected: Sums) -> Iterator[str]:
        """Add all records of the database to `expected`; a sentence for each sheet amiss."""
        kept: dict[int, list[_Sheet]] = {}
        try:
            kept = self._kept()
        except msgspec.DecodeError as fault:
            yield f"a question that sums of days are kept for cannot be read: {fault}"
        day = floor_of(records.c.stop_us, DAY_US)
        for number, sheets in sorted(kept.items()):
            readings = [Reading(sheet.question, whole=True) for sheet in sheets]
            stopped = records.c.stop_us >= number * DAY_US, records.c.stop_us < (number + 1) * DAY_US
            expected.take_rows(_read(self._source.cores(and_(*stopped)), readings))
            for sheet, reading in zip(sheets, readings, strict=True):
                if not self._is_right(number, sheet, reading):
                    by = msgspec.json.encode(sheet.question.group_by).decode()
                    yield f"sums kept of {day_text(number)} by {by} are not what its records add up to"
        others = or_(records.c.stop_us.is_(None), day.not_in(sorted(kept))) if kept else None
        expected.take_rows(self._source.cores(others))

    def marks(self, expected: Sums) -> Iterator[str]:
        """A sentence for each day whose records no sum of days would find."""
        for day in sorted(expected.days - self._marks.keys() - self._unsettled):
            yield f"records stopped on {day_text(day)}, which has no mark: sums of days leave them out"

    def _kept(self) -> dict[int, list[_Sheet]]:
        """The sheets that count, by day."""
        asked = self._execute(select(day_questions.c.question, day_questions.c.asked))
        questions = {bytes(digest): question_of(bytes(said)) for digest, said in asked}
        found: dict[int, list[_Sheet]] = {}
        for digest, day, mark in self._execute(select(day_sums.c.question, day_sums.c.day, day_sums.c.mark)):
            if self._marks.get(day) == mark and day not in self._unsettled and bytes(digest) in questions:
                found.setdefault(day, []).append(_Sheet(bytes(digest), questions[bytes(digest)]))
        return found

    def _is_right(self, day: int, sheet: _Sheet, reading: Reading) -> bool:
        ((body,),) = self._execute(
            select(day_sums.c.body).where(day_sums.c.question == sheet.digest, day_sums.c.day == day)
        )
        tally, asked = Tally(sheet.question), on_day(sheet.question, day)
        try:
            reading.give(tally)
            parts = list(parts_of(asked, self._source.view, only=None))
            self._archive.add_totals(self._execute, asked, parts, tally)
            return dict(read_sheet(sheet.question, bytes(body))) == tally.groups()
        except (SheetFaulty, TooManyGroups):
            return False


def _read(rows: Iterable[Sequence[Any]], readings: Sequence[Reading]) -> Iterator[Sequence[Any]]:
    """The same rows, read by all `readings` on the way."""
    coming = iter(rows)
    while some := list(islice(coming, BLOCK_RECORDS)):
        for reading in readings:
            reading.take([(row[0], row[1], row[-1]) for row in some])
        yield from some
