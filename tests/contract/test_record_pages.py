"""Pages of every record store: together they are the whole answer, whatever comes in meanwhile."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from jobmeter.contract import RecordStore
from jobmeter.model.outcome import Stored
from jobmeter.model.question import Column, MetaCondition, Order, Position, Question
from tests.given import ALL, decoded, lines, record

MIB = 2**20
ORDERS = [Order(column, descending) for column in Column for descending in (False, True)]


def pages(store: RecordStore, question: Question, bytes_max: int = MIB) -> list[list[str]]:
    """The ids of all pages, asked for one after the other."""
    found = []
    while True:
        page = store.page(question, bytes_max)
        found.append([decoded(body)["record_id"] for body in page.bodies])
        if page.last is None:
            return found
        question = replace(question, after=page.last)


def fill(store: RecordStore) -> None:
    """40 records with ties in every column; every fifth never stopped."""
    given = [
        record(
            f"r{(number * 17) % 40:02d}",
            start=number % 4,
            stop=None if number % 5 == 0 else 10 + number % 3,
            meta={"site_id": (f"S{number % 2}",)},
        )
        for number in range(40)
    ]
    assert store.put(given) == [Stored.NEW] * 40


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: f"{order.column.value}-{order.descending}")
@pytest.mark.parametrize("limit", [1, 7, 39, 40, 41])
def test_pages_together_are_the_whole_answer_in_order(store: RecordStore, order: Order, limit: int) -> None:
    fill(store)
    whole = [decoded(line)["record_id"] for line in lines(store, Question(ALL, order=order))]
    found = pages(store, Question(ALL, order=order, limit=limit))
    assert [one for page in found for one in page] == whole
    assert all(len(page) == limit for page in found[:-1])
    assert found[-1]


def test_a_stream_behind_a_place_is_the_rest(store: RecordStore) -> None:
    fill(store)
    for order in ORDERS:
        question = Question(ALL, order=order)
        whole = lines(store, question)
        for limit in (3, 33):
            first = store.page(replace(question, limit=limit), MIB)
            assert lines(store, replace(question, after=first.last)) == whole[limit:]
            assert lines(store, replace(question, after=first.last, limit=5)) == whole[limit : limit + 5]


def test_records_that_come_while_paging_move_nothing(store: RecordStore) -> None:
    fill(store)
    question = Question(ALL, limit=10)
    first = store.page(question, MIB)
    assert first.last is not None
    store.put([record("before", stop=1), record("tied", stop=10), record("never", stop=None)])
    found = pages(store, replace(question, after=first.last))
    rest = [one for page in found for one in page]
    assert "before" not in rest
    assert rest[-1] == "never"
    assert len(rest) == 32


def test_filters_hold_on_every_page(store: RecordStore) -> None:
    fill(store)
    question = Question(ALL, limit=3, meta=(MetaCondition("site_id", ("S1",)),))
    assert [len(page) for page in pages(store, question)] == [3, 3, 3, 3, 3, 3, 2]


def test_a_page_ends_at_its_size_in_bytes_but_holds_one_record(store: RecordStore) -> None:
    fill(store)
    assert [len(page) for page in pages(store, Question(ALL, limit=10), 1)] == [1] * 40


def test_a_page_of_none_has_no_next(store: RecordStore) -> None:
    fill(store)
    page = store.page(Question(ALL, limit=0), MIB)
    assert (page.bodies, page.last) == ([], None)


def test_the_place_of_a_record_that_is_gone_still_counts(store: RecordStore) -> None:
    fill(store)
    page = store.page(Question(ALL, limit=100, after=Position(11_000_000, 10**12)), MIB)
    assert {decoded(body)["stop_time"] for body in page.bodies} == {"1970-01-01T00:00:12Z", None}
