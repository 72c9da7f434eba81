"""`/jobs`: search, filter, sort and page through the jobs, with the columns that are wanted, and take them along."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlencode

from msgspec.structs import replace

from jobmeter.query.cursor import cursor_of
from jobmeter.serve.listing import PAGE_BYTES
from jobmeter.serve.view.rows import DEFAULT, Column, columns_of, offered, records_of, rows_of
from jobmeter.serve.view.search import findings
from jobmeter.serve.view.selection import CURSOR_MAX, ROWS, Selection, selection_of
from jobmeter.serve.web.account import filters_of, listing_of
from jobmeter.serve.web.page import Page, Values, Visit

_INDEXED = frozenset({"stop_time", "-stop_time", "record_id", "-record_id"})
"""Orders that the stores have an index for; the others sort all that is selected."""


def show(visit: Visit) -> Values:
    """One page of jobs."""
    given = visit.given
    word = given.text("q", CURSOR_MAX)
    found = [] if word is None else list(findings(visit.stores.records, visit.asker.scope, word, visit.stores.rules))
    selection = selection_of(given, visit.now)
    if len(found) == 1 and found[0].kind != "record":
        selection = replace(selection, **{found[0].kind: word})
    columns = columns_of([*given.begun("show."), *([] if given.is_given("shown") else DEFAULT)])
    given.text("shown")
    rows = int(given.choice("rows", tuple(map(str, ROWS))))
    cursor = given.text("cursor", CURSOR_MAX)
    given.require_known()
    unsorted = selection.since is None and selection.order not in _INDEXED
    asked = replace(selection, order="-stop_time") if unsorted else selection
    return {
        "word": word,
        "found": found,
        "selection": selection,
        "unsorted": unsorted,
        "row_choices": ROWS,
        "rows_wanted": rows,
        **_answer(visit, asked, columns, rows, cursor),
    }


def _answer(visit: Visit, selection: Selection, columns: Sequence[Column], rows: int, cursor: str | None) -> Values:
    filters = filters_of(visit, selection)
    question = "&".join(part for part in (filters, selection.sorting()) if part)
    paged = urlencode({"limit": rows, **({"cursor": cursor} if cursor else {})})
    listing = listing_of(f"{question}&{paged}", visit.asker.scope)
    page = visit.stores.records.page(listing.question, PAGE_BYTES)
    records = records_of(page.bodies)
    fields = selection.fields() | _shown(columns) | ({} if rows == ROWS[0] else {"rows": str(rows)})
    return {
        "columns": columns,
        "offered": offered(records, columns),
        "chosen": {column.name for column in columns},
        "rows": rows_of(records, columns),
        "first": None if cursor is None else urlencode(fields),
        "next": None if page.last is None else urlencode(fields | {"cursor": cursor_of(listing.question, page.last)}),
        "sorts": {column.sort: _turned(fields, selection.order, column.sort) for column in columns if column.sort},
        "id_sort": _turned(fields, selection.order, "record_id"),
        "filters": filters,
        "question": question,
        "sums": urlencode(selection.fields()),
    }


def _shown(columns: Sequence[Column]) -> dict[str, str]:
    names = tuple(column.name for column in columns)
    return {} if names == DEFAULT else {"shown": "1", **{f"show.{name}": "1" for name in names}}


def _turned(fields: dict[str, str], order: str, by: str) -> str:
    """The address that sorts by `by`: the largest first, or the smallest where that is so already."""
    wanted = by if order == f"-{by}" else f"-{by}"
    return urlencode({name: value for name, value in fields.items() if name != "order"} | {"order": wanted})


PAGE = Page("/jobs", "Jobs", "jobs.html", show, place=20)
