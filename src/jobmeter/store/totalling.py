"""How a question for totals is answered: from the rollups and what is pending, where they can; else from the records.

Where bodies must be opened, days that were summed before are taken from `jobmeter.store.day_sums`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

from msgspec import Struct
from sqlalchemy import ColumnElement, select

from jobmeter.model.question import Column, Question
from jobmeter.model.total import FieldDimension, Total, TotalQuestion
from jobmeter.store import kept_counts
from jobmeter.store.archive import ledger
from jobmeter.store.archive.archive import Archive, signature
from jobmeter.store.archive.ledger import Execute
from jobmeter.store.day_sums import DayBook, Kept, days_of, is_worth_it, on_day, within
from jobmeter.store.facet import Entry, Signature, entries_of
from jobmeter.store.grouped import Part, parts_of
from jobmeter.store.read_sums import Row, add_read, is_about_bodies, of_columns
from jobmeter.store.rolled import months_of, rolled_parts
from jobmeter.store.rollup import Kind, State, Sums
from jobmeter.store.statement import View
from jobmeter.store.tables import facets
from jobmeter.store.tally import Tally

KINDS_MAX = 5_000
"""More kinds of one component than these are not listed in a statement; the records are summed then."""


class Source(Protocol):
    """One consistent view of a database, as far as totals need it."""

    view: View

    def rows_of(self, part: Part) -> Sequence[Sequence[Any]]:
        """The rows of a SELECT, at most ROWS_MAX + 1, whose sums are exact."""
        ...

    def read(self, where: Question, only: ColumnElement[bool] | None, *, with_ids: bool) -> Iterator[Row]:
        """The times and bodies of the rows that `where` and `only` are about, in any order."""
        ...

    def cores(self, only: ColumnElement[bool] | None) -> Iterable[Sequence[Any]]:
        """The rows of `select_cores`."""
        ...

    def pending(self) -> tuple[bool, ColumnElement[bool] | None]:
        """Whether records are pending, and what is true of those alone; None where that cannot be said shortly."""
        ...

    def kinds(self, component: str) -> dict[int, Kind]:
        """The numbered kinds of a component."""
        ...

    def facets(self, numbers: Iterable[int]) -> dict[int, str]:
        """The dictionary's entries."""
        ...


class Answer(Struct, frozen=True):
    """The totals, and the sums that were made on the way and are worth keeping."""

    totals: list[Total]
    kept: Kept | None


def total(question: TotalQuestion, source: Source, archive: Archive, execute: Execute) -> Answer:
    """The totals that `question` asks for. Rollups hold archived records, too. Raises TooManyGroups."""
    tally, kept = Tally(question), None
    if not _add_rolled(question, source, tally):

        def add_all(asked: TotalQuestion, into: Tally) -> None:
            archive.add_totals(execute, asked, _add_records(asked, source, into, None), into)

        # What is kept of a day is of the present.
        by_day = is_about_bodies(question) and question.where.as_of_us is None and question.where.record_id is None
        days = days_of(question.where.stop_time) if by_day else None
        some, only = source.pending() if days is not None else (False, None)
        if days is None or (some and only is None) or not is_worth_it(execute, days.days):
            add_all(question, tally)
        else:
            for edge in days.edges:
                add_all(within(question, edge), tally)
            kept = _add_days(question, DayBook(execute, question, days.days, only), tally, add_all)
    return Answer(tally.totals(source.facets(tally.facet_numbers())), kept)


def _add_days(
    question: TotalQuestion, book: DayBook, tally: Tally, add_all: Callable[[TotalQuestion, Tally], None]
) -> Kept | None:
    """Add what is kept, and the rest from the records day by day; what is to be kept of it."""
    for day in book.days:
        if not book.add(day, tally):
            summed = Tally(question)
            add_all(on_day(question, day), summed)
            book.note(day, summed)
            for key, cells in summed.groups().items():
                tally.merge(key, cells)
    return book.fresh


def _add_records(question: TotalQuestion, source: Source, tally: Tally, only: ColumnElement[bool] | None) -> list[Part]:
    parts = list(parts_of(question, source.view, only=only))
    if is_about_bodies(question):
        with_ids = FieldDimension(Column.RECORD_ID) in question.group_by
        add_read(tally, question, source.read(of_columns(question.where), only, with_ids=with_ids))
        return parts
    for part in parts:
        tally.add(part, source.rows_of(part))
    return parts


def _add_rolled(question: TotalQuestion, source: Source, tally: Tally) -> bool:
    """Whether the rollups could answer, and then they have."""
    months = months_of(question)
    if months is None:
        return False
    some, only = source.pending()
    if some and only is None:
        return False
    factors = [factor for measure in question.measures for factor in getattr(measure, "factors", ())]
    kinds = {factor.component: source.kinds(factor.component) for factor in factors}
    if any(len(kinds[factor.component]) > KINDS_MAX for factor in factors if factor.scores):
        return False
    for part in rolled_parts(question, months, source.view, kinds):
        tally.add(part, source.rows_of(part))
    if some:
        _add_records(question, source, tally, only)
    return True


def archived_sums(archive: Archive, execute: Execute) -> Sums:
    """What the archived records add up to that are not back in the database."""
    sums = Sums(kept_counts.followed(execute))
    known: dict[Signature, tuple[int | None, ...]] = {}
    for file in ledger.files(execute) if ledger.newest(execute) else ():
        for block in archive.everything(file):
            for one in block:
                signed = signature(one.body)
                if signed not in known:
                    known[signed] = tuple(_number(execute, entry) for entry in entries_of(signed))
                site, grp, usr = known[signed]
                sums.take(State(one.start_us, one.stop_us, site, grp, usr, one.body), 1)
    return sums


def _number(execute: Execute, entry: Entry | None) -> int | None:
    if entry is None:
        return None
    found = execute(select(facets.c.no).where(facets.c.digest == entry.digest))
    return int(found[0][0]) if found else None
