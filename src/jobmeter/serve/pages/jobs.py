"""`/jobs`: search, filter, sort and page through the jobs, with the columns that are wanted, and take them along."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

from msgspec.structs import replace

from jobmeter.model.question import Column as By
from jobmeter.model.question import Page as Answer
from jobmeter.model.question import Question
from jobmeter.model.record import from_microseconds
from jobmeter.query.cursor import cursor_of
from jobmeter.serve.listing import PAGE_BYTES
from jobmeter.serve.view.rows import DEFAULT, Column, columns_of, offered, records_of, rows_of
from jobmeter.serve.view.search import findings
from jobmeter.serve.view.selection import CURSOR_MAX, ORDERS, ROWS, Selection, selection_of
from jobmeter.serve.view.stretch import Looked, edge_of, hour_from, jobs_max, page_until
from jobmeter.serve.web.account import filters_of, is_new, jobs_by_month, listing_of
from jobmeter.serve.web.page import Page, Values, Visit


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
    sorted_part = selection if cursor else _sorted_part(visit, selection)
    shown = _shown(columns) | ({} if rows == ROWS[0] else {"rows": str(rows)})
    left = replace(selection, until=sorted_part.since)
    return {
        "word": word,
        "found": found,
        "selection": sorted_part,
        "earlier": None if sorted_part is selection else urlencode(left.fields() | shown),
        "sorted_max": jobs_max(listing_of(_asked(visit, sorted_part), visit.asker.scope).question),
        "by_end": urlencode(replace(selection, order=ORDERS[0]).fields() | shown),
        "row_choices": ROWS,
        "rows_wanted": rows,
        **_answer(visit, sorted_part, columns, {"limit": str(rows), **({"cursor": cursor} if cursor else {})}, shown),
    }


def _sorted_part(visit: Visit, selection: Selection) -> Selection:
    """The newest part of the selection that can be sorted in short time; itself where that is all of it."""
    question = listing_of(_asked(visit, selection), visit.asker.scope).question
    edge = None if question.order.column is By.STOP_TIME else _edge(visit, question)
    return selection if edge is None else replace(selection, since=from_microseconds(hour_from(edge, question)))


def _edge(visit: Visit, question: Question) -> int | None:
    """How far a page looks; None: to the end of what is asked for."""
    most = jobs_max(question)
    return None if most is None else edge_of(question, jobs_by_month(visit), most)


def _asked(visit: Visit, selection: Selection) -> str:
    return "&".join(part for part in (filters_of(visit, selection), selection.sorting()) if part)


def _looked(visit: Visit, question: Question) -> Looked:
    def ask(one: Question) -> Answer:
        return visit.stores.records.page(one, PAGE_BYTES)

    edge = _edge(visit, question) if question.order.column is By.STOP_TIME else None
    return Looked(ask(question)) if edge is None else page_until(ask, question, edge)


def _answer(
    visit: Visit, selection: Selection, columns: Sequence[Column], paged: Mapping[str, str], shown: dict[str, str]
) -> Values:
    asked = _asked(visit, selection)
    question = listing_of(f"{asked}&{urlencode(paged)}", visit.asker.scope).question
    looked = _looked(visit, question)
    page, records = looked.page, records_of(looked.page.bodies)
    fields = selection.fields() | shown
    return {
        "columns": columns,
        "offered": offered(records, columns),
        "chosen": {column.name for column in columns},
        "rows": rows_of(records, columns),
        "is_new": not records and is_new(visit),
        "looked_to": None if looked.edge is None else from_microseconds(looked.edge),
        "first": None if question.after is None else urlencode(fields),
        "next": None if page.last is None else urlencode(fields | {"cursor": cursor_of(question, page.last)}),
        "sorts": {column.sort: _turned(fields, selection.order, column.sort) for column in columns if column.sort},
        "id_sort": _turned(fields, selection.order, "record_id"),
        "question": asked,
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
