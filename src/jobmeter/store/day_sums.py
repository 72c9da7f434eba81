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
import zlib
from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import ColumnElement, select

from jobmeter.contract import StoreUnavailable
from jobmeter.model.question import Bound, Op, Order
from jobmeter.model.total import MetaDimension, TotalQuestion
from jobmeter.store.archive.ledger import Execute
from jobmeter.store.compare import floor_of
from jobmeter.store.facet import FACET_OF_KEY
from jobmeter.store.grouped import DAY_US
from jobmeter.store.ledger import Runner
from jobmeter.store.tables import day_marks, day_sums, records
from jobmeter.store.tally import FacetValue, Tally

QUESTIONS_MAX = 24
"""Of so many questions sheets are kept."""
DAYS_MAX = 3700
"""A question about more days is answered without sheets."""
RECORDS_A_GROUP = 4
"""With fewer records a group, in the mean of a day, its sheet would save little and be large."""

_FORM = 1
"""Counts up when a sheet's content is written in another way."""
_COMPRESSION = 1

_PUT = """INSERT INTO day_sums (question, day, mark, body) VALUES (?, ?, ?, ?)
    ON CONFLICT (question, day) DO UPDATE SET mark = excluded.mark, body = excluded.body"""
_TURN = """INSERT INTO day_questions (question, turn)
    VALUES (?, (SELECT coalesce(max(turn), 0) + 1 FROM day_questions))
    ON CONFLICT (question) DO UPDATE SET turn = excluded.turn"""
_LEAVE = tuple(
    f"DELETE FROM {table} WHERE question NOT IN "  # noqa: S608 - names of ours
    f"(SELECT question FROM day_questions ORDER BY turn DESC LIMIT {QUESTIONS_MAX})"
    for table in ("day_sums", "day_questions")
)

log = logging.getLogger("jobmeter.store")


class Sheet(Struct, frozen=True):
    """The sums of one day, made when its mark was `mark`."""

    day: int
    mark: int
    body: bytes


class Kept(Struct, frozen=True):
    """Sheets of one question."""

    question: bytes
    sheets: Sequence[Sheet]


class Days(Struct, frozen=True):
    """Whole days since 1970 that a question is about, and the stretches before and behind, in microseconds."""

    days: range
    edges: tuple[tuple[int, int], ...]


def days_of(bounds: Iterable[Bound]) -> Days | None:
    """What lies within bounds of the stop; None where there is no whole day, no bound, or too many days."""
    first, end = None, None
    for bound in bounds:
        low = {Op.GTE: bound.value, Op.GT: bound.value + 1, Op.EQUALS: bound.value}.get(bound.op)
        high = {Op.LT: bound.value, Op.LTE: bound.value + 1, Op.EQUALS: bound.value + 1}.get(bound.op)
        first = low if first is None else first if low is None else max(first, low)
        end = high if end is None else end if high is None else min(end, high)
    if first is None or end is None:
        return None
    days = range(-(-first // DAY_US), end // DAY_US)
    if not 0 < len(days) <= DAYS_MAX:
        return None
    edges = (first, days.start * DAY_US), (days.stop * DAY_US, end)
    return Days(days, tuple(edge for edge in edges if edge[0] < edge[1]))


def within(question: TotalQuestion, first_us: int, end_us: int) -> TotalQuestion:
    """The question about the records that stopped from `first_us` on and before `end_us`."""
    bounds = Bound(Op.GTE, first_us), Bound(Op.LT, end_us)
    return replace(question, where=replace(question.where, stop_time=bounds))


def on_day(question: TotalQuestion, day: int) -> TotalQuestion:
    """The question about one day."""
    return within(question, day * DAY_US, (day + 1) * DAY_US)


class DayBook:
    """The sheets of one question, in one view of a database. `pending` is true of the records that are pending."""

    def __init__(
        self, execute: Execute, question: TotalQuestion, days: range, pending: ColumnElement[bool] | None
    ) -> None:
        self._question = question
        self._digest = _digest(question)
        self._unsettled = set() if pending is None else set(stop_days(execute, pending))
        wanted = day_marks.c.day.between(days.start, days.stop - 1)
        self._marks = dict(map(tuple, execute(select(day_marks.c.day, day_marks.c.mark).where(wanted))))
        columns = select(day_sums.c.day, day_sums.c.mark, day_sums.c.body)
        rows = execute(
            columns.where(day_sums.c.question == self._digest, day_sums.c.day.between(days.start, days.stop - 1))
        )
        self._held = {day: Sheet(day, mark, bytes(body)) for day, mark, body in rows}
        self._fresh: list[Sheet] = []

    def add(self, day: int, tally: Tally) -> bool:
        """Add the sums of a day, where there is a sheet of it as it is now; whether there was."""
        sheet = self._held.get(day)
        if sheet is None or day in self._unsettled or sheet.mark != self._marks.get(day, 0):
            return False
        _add(self._question, sheet.body, tally)
        return True

    def note(self, day: int, summed: Tally) -> None:
        """Make a sheet of the sums of a day, where one is of use."""
        if day not in self._unsettled and (body := _body(self._question, summed)) is not None:
            self._fresh.append(Sheet(day, self._marks.get(day, 0), body))

    @property
    def fresh(self) -> Kept | None:
        """What was made and is to be kept."""
        return Kept(self._digest, self._fresh) if self._fresh else None


def keep_days(runner: Runner, kept: Kept | None) -> None:
    """Keep sheets. One that is of the past by now does no harm: its mark tells."""
    if kept is None:
        return
    rows = [(kept.question, sheet.day, sheet.mark, sheet.body) for sheet in kept.sheets]
    try:
        runner.many([(_TURN, [(kept.question,)]), (_PUT, rows), *((statement, [()]) for statement in _LEAVE)])
    except StoreUnavailable as fault:
        log.info("day_sums.not_kept reason=%r", str(fault))


def stop_days(execute: Execute, only: ColumnElement[bool]) -> list[int]:
    """The days on which those records stopped of which `only` is true."""
    day = floor_of(records.c.stop_us, DAY_US)
    found = execute(select(day).where(only, records.c.stop_us.is_not(None)).distinct())
    return [int(number) for (number,) in found]


def _digest(question: TotalQuestion) -> bytes:
    """What the sheets of a question are found by, whatever its bounds of the stop are."""
    where = replace(question.where, stop_time=(), order=Order(), limit=None, after=None)
    said = repr((_FORM, replace(question, where=where)))
    return hashlib.blake2b(said.encode(), digest_size=16).digest()


_Row = tuple[list[Any], list[Any]]
"""The key, and value and count of each measure. Decimals are text."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[_Row]).decode


def _body(question: TotalQuestion, summed: Tally) -> bytes | None:
    """A tally as a sheet, or None where it is not worth it or cannot be."""
    facets = _facet_places(question)
    rows: list[_Row] = []
    counted = [0] * len(question.measures)
    for key, cells in summed.groups():
        if any(isinstance(key[place], int) for place in facets):
            return None  # a number of the dictionary would outlive its meaning
        told: list[Any] = []
        for place, (value, count) in enumerate(cells):
            counted[place] += count
            told += [format(value, "f") if isinstance(value, Decimal) else value, count]
        rows.append(([part.value if isinstance(part, FacetValue) else part for part in key], told))
    if rows and max(counted, default=0) < RECORDS_A_GROUP * len(rows):
        return None
    try:
        return zlib.compress(_encode(rows), _COMPRESSION)
    except (OverflowError, UnicodeEncodeError):  # a whole number beyond 64 bits, or half a character
        return None


def _add(question: TotalQuestion, body: bytes, tally: Tally) -> None:
    facets = _facet_places(question)
    for key, told in _decode(zlib.decompress(body)):
        for place in facets:
            if key[place] is not None:
                key[place] = FacetValue(key[place])
        for place in range(0, len(told), 2):
            if isinstance(told[place], str):
                told[place] = Decimal(told[place])
        tally.merge(tuple(key), told)


def _facet_places(question: TotalQuestion) -> Collection[int]:
    return [
        place
        for place, dimension in enumerate(question.group_by)
        if isinstance(dimension, MetaDimension) and dimension.key in FACET_OF_KEY
    ]
