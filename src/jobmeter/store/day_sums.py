"""Sums of whole days are kept: a question that was asked before costs only the days that changed since.

A *sheet* is what the records that stopped on one day add up to, for one question without its bounds of the stop. It
counts while the *mark* of its day is the one it was made at. Whoever changes what the rollups hold of a day marks it
(`Sums.days`), in the same transaction; a day with a record that is pending is *unsettled* and is summed from its
records. So an answer is exact at any moment, as with the rollups, and writing costs nothing more.

Sheets are made by questions, and only where they save something: of questions that bodies must be opened for, and of
days that have several records a group. The sheets of those questions go first that nobody made any for the longest.
"""

from __future__ import annotations

import hashlib
import logging
import operator
import zlib
from collections.abc import Collection, Iterable, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import ColumnElement, func, select

from jobmeter.contract import StoreUnavailable
from jobmeter.model.question import Bound, Op, Order
from jobmeter.model.total import MetaDimension, TotalQuestion
from jobmeter.store.archive.ledger import Execute
from jobmeter.store.compare import compared, floor_of
from jobmeter.store.facet import FACET_OF_KEY
from jobmeter.store.grouped import DAY_US
from jobmeter.store.ledger import Runner
from jobmeter.store.rollup import BY_SITE
from jobmeter.store.tables import day_marks, day_sums, records, rollups
from jobmeter.store.tally import Tally, is_decimal

QUESTIONS_MAX = 16
"""Of so many questions sheets are kept."""
RECORDS_A_DAY = 500
"""With fewer records a day, in the mean, reading all at once is quicker than day by day."""
RECORDS_A_GROUP = 1.5
"""With fewer records a group, in the mean of a day, its sheet would save little and be large: 40 to 60 bytes a group,
which are added in half of the time that it takes to read a record.
"""

_EPOCH = date(1970, 1, 1).toordinal()
_FORM = 2
"""Counts up when a sheet's content is written in another way."""
_COMPRESSION = 1

_PUT = """INSERT INTO day_sums (question, day, mark, body) VALUES (?, ?, ?, ?)
    ON CONFLICT (question, day) DO UPDATE SET mark = excluded.mark, body = excluded.body"""
_TURN = """INSERT INTO day_questions (question, turn, asked)
    VALUES (?, (SELECT coalesce(max(turn), 0) + 1 FROM day_questions), ?)
    ON CONFLICT (question) DO UPDATE SET turn = excluded.turn"""
_LEAVE = tuple(
    f"DELETE FROM {table} WHERE question NOT IN "  # noqa: S608 - names of ours
    f"(SELECT question FROM day_questions ORDER BY turn DESC LIMIT {QUESTIONS_MAX})"
    for table in ("day_sums", "day_questions")
)

_encode = msgspec.json.Encoder(decimal_format="string").encode

log = logging.getLogger("jobmeter.store")


class Sheet(Struct, frozen=True):
    """The sums of one day, made when its mark was `mark`."""

    day: int
    mark: int
    body: bytes


class Kept(Struct, frozen=True):
    """Sheets of one question. `asked` is what is kept of it, `question` what they are found by."""

    question: bytes
    asked: bytes
    sheets: Sequence[Sheet]


class Stretch(Struct, frozen=True):
    """From `first` on and before `end`; None: no bound."""

    first: int | None
    end: int | None


class Days(Struct, frozen=True):
    """The whole days since 1970 that a question is about, and what stands out of them, in microseconds."""

    days: Stretch
    edges: tuple[Stretch, ...]


def days_of(bounds: Iterable[Bound]) -> Days | None:
    """What lies within bounds of the stop; None where there is no bound, or no whole day."""
    first, end = None, None
    for bound in bounds:
        low = {Op.GTE: bound.value, Op.GT: bound.value + 1, Op.EQUALS: bound.value}.get(bound.op)
        high = {Op.LT: bound.value, Op.LTE: bound.value + 1, Op.EQUALS: bound.value + 1}.get(bound.op)
        first = low if first is None else first if low is None else max(first, low)
        end = high if end is None else end if high is None else min(end, high)
    days = Stretch(None if first is None else -(-first // DAY_US), None if end is None else end // DAY_US)
    if days == Stretch(None, None) or (days.first is not None and days.end is not None and days.first >= days.end):
        return None
    edges = []
    if first is not None and days.first is not None and first < days.first * DAY_US:
        edges.append(Stretch(first, days.first * DAY_US))
    if end is not None and days.end is not None and days.end * DAY_US < end:
        edges.append(Stretch(days.end * DAY_US, end))
    return Days(days, tuple(edges))


def within(question: TotalQuestion, stretch: Stretch) -> TotalQuestion:
    """The question about the records that stopped in a stretch of microseconds."""
    bounds = [Bound(op, at) for op, at in ((Op.GTE, stretch.first), (Op.LT, stretch.end)) if at is not None]
    return replace(question, where=replace(question.where, stop_time=tuple(bounds)))


def on_day(question: TotalQuestion, day: int) -> TotalQuestion:
    """The question about one day."""
    return within(question, Stretch(day * DAY_US, (day + 1) * DAY_US))


class DayBook:
    """The sheets of one question, in one view of a database. `pending` is true of the records that are pending."""

    def __init__(
        self, execute: Execute, question: TotalQuestion, days: Stretch, pending: ColumnElement[bool] | None
    ) -> None:
        self._execute = execute
        self._question = question
        self._asked = asked_of(question)
        self._digest = _digest(self._asked)
        unsettled = () if pending is None else stop_days(execute, pending)
        self._unsettled = {day for day in unsettled if _is_in(day, days)}
        marks = select(day_marks.c.day, day_marks.c.mark).where(*_in(day_marks.c.day, days))
        self._marks: dict[int, int] = dict(map(tuple, execute(marks)))
        held = select(day_sums.c.day, day_sums.c.mark).where(day_sums.c.question == self._digest)
        self._held: dict[int, int] = dict(map(tuple, execute(held.where(*_in(day_sums.c.day, days)))))
        self._fresh: list[Sheet] = []

    @property
    def days(self) -> list[int]:
        """The days on which a record may have stopped: a day without a mark has only what is pending."""
        return sorted(self._marks.keys() | self._unsettled)

    def add(self, day: int, tally: Tally) -> bool:
        """Add the sums of a day, where there is a sheet of it as it is now; whether there was."""
        mark = self._marks.get(day)
        if mark is None or day in self._unsettled or self._held.get(day) != mark:
            return False
        ((body,),) = self._execute(
            select(day_sums.c.body).where(day_sums.c.question == self._digest, day_sums.c.day == day)
        )
        try:
            sheet = read_sheet(self._question, bytes(body))
        except SheetFaulty as fault:
            log.warning("day_sums.unreadable day=%s reason=%r", day_text(day), str(fault))
            return False
        for key, cells in sheet:
            tally.merge(key, cells)
        return True

    def note(self, day: int, summed: Tally) -> None:
        """Make a sheet of the sums of a day, where one is of use."""
        if self._asked and day not in self._unsettled and (body := _body(self._question, summed)) is not None:
            self._fresh.append(Sheet(day, self._marks[day], body))

    @property
    def fresh(self) -> Kept | None:
        """What was made and is to be kept."""
        return Kept(self._digest, self._asked, self._fresh) if self._fresh else None


def keep_days(runner: Runner, kept: Kept | None) -> None:
    """Keep sheets. One that is of the past by now does no harm: its mark tells."""
    if kept is None:
        return
    rows = [(kept.question, sheet.day, sheet.mark, sheet.body) for sheet in kept.sheets]
    try:
        runner.many(
            [(_TURN, [(kept.question, kept.asked)]), (_PUT, rows), *((statement, [()]) for statement in _LEAVE)]
        )
    except StoreUnavailable as fault:
        log.info("day_sums.not_kept reason=%r", str(fault))


def is_worth_it(execute: Execute, days: Stretch) -> bool:
    """Whether there are records enough a day."""
    counted = select(func.coalesce(func.sum(rollups.c.n), 0)).where(rollups.c.level == BY_SITE, rollups.c.month != 0)
    # Months by the days that they begin with, near enough.
    for bound, compare in ((days.first, operator.ge), (days.end, operator.le)):
        if bound is not None:
            month = date.fromordinal(min(max(bound + _EPOCH, 1), date.max.toordinal()))
            counted = counted.where(compare(rollups.c.month, month.year * 12 + month.month - 1))
    marked = select(func.count()).where(*_in(day_marks.c.day, days))
    return int(execute(counted)[0][0]) >= RECORDS_A_DAY * int(execute(marked)[0][0])


def _in(column: ColumnElement[int], days: Stretch) -> list[ColumnElement[bool]]:
    bounds = ((Op.GTE, days.first), (Op.LT, days.end))
    return [compared(column, Bound(op, day)) for op, day in bounds if day is not None]


def _is_in(day: int, days: Stretch) -> bool:
    return (days.first is None or days.first <= day) and (days.end is None or day < days.end)


def stop_days(execute: Execute, only: ColumnElement[bool]) -> list[int]:
    """The days on which those records stopped of which `only` is true."""
    day = floor_of(records.c.stop_us, DAY_US)
    found = execute(select(day).where(only, records.c.stop_us.is_not(None)).distinct())
    return [int(number) for (number,) in found]


def asked_of(question: TotalQuestion) -> bytes:
    """What is kept of a question: all but its bounds of the stop and its order. Empty where it cannot be kept."""
    where = replace(question.where, stop_time=(), order=Order(), limit=None, after=None)
    try:
        return _encode(replace(question, where=where))
    except (OverflowError, UnicodeEncodeError):  # a whole number beyond 64 bits, or half a character
        return b""


question_of = msgspec.json.Decoder(TotalQuestion).decode
"""The question that `asked_of` gave. Raises msgspec.DecodeError."""


def _digest(asked: bytes) -> bytes:
    """What the sheets of a question are found by."""
    return hashlib.blake2b(b"%d %b" % (_FORM, asked), digest_size=16).digest()


def day_text(day: int) -> str:
    """A day since 1970 as people write it."""
    known = 1 <= day + _EPOCH <= date.max.toordinal()
    return date.fromordinal(day + _EPOCH).isoformat() if known else f"{day} days since 1970"


_Row = tuple[tuple[Any, ...], list[Any]]
"""The key, and value and count of each measure. Decimals are text."""

_decode = msgspec.json.Decoder(list[_Row]).decode


def _body(question: TotalQuestion, summed: Tally) -> bytes | None:
    """A tally as a sheet, or None where it is not worth it or cannot be."""
    groups = summed.groups()
    measures = range(len(question.measures))
    records = max((sum(cells[2 * number + 1] for cells in groups.values()) for number in measures), default=0)
    if groups and records < RECORDS_A_GROUP * len(groups):
        return None
    for place in _facet_places(question):
        if any(isinstance(key[place], int) for key in groups):
            return None  # a number of the dictionary would outlive its meaning
    try:
        return zlib.compress(_encode(list(groups.items())), _COMPRESSION)
    except (OverflowError, UnicodeEncodeError):  # a whole number beyond 64 bits, or half a character
        return None


class SheetFaulty(Exception):  # noqa: N818 - what it is, not that it is an error
    """What is kept as a sheet is none; the message says why."""


def read_sheet(question: TotalQuestion, body: bytes) -> list[_Row]:
    """The groups of a sheet, as `Tally.groups` has them. Raises SheetFaulty."""
    decimals = [2 * number for number, measure in enumerate(question.measures) if is_decimal(measure)]
    try:
        rows = _decode(zlib.decompress(body))
        for _, cells in rows:
            for place in decimals:
                if cells[place] is not None:
                    cells[place] = Decimal(cells[place])
    except (zlib.error, msgspec.DecodeError, ArithmeticError, IndexError) as fault:
        raise SheetFaulty(str(fault)) from None
    return rows


def _facet_places(question: TotalQuestion) -> Collection[int]:
    return [
        place
        for place, dimension in enumerate(question.group_by)
        if isinstance(dimension, MetaDimension) and dimension.key in FACET_OF_KEY
    ]
