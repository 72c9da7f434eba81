"""Stretches of time of every record store, as pages look at them: together they are the whole answer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from jobmeter.contract import RecordStore
from jobmeter.model.question import Order, Question
from jobmeter.serve.view.stretch import page_until
from tests.given import ALL, decoded, lines, record

NEWEST = Order(descending=True)


def ids(store: RecordStore, question: Question, step: int) -> Iterator[str]:
    """The ids of all pages, each of which looks at jobs of so many seconds."""
    while True:
        place = None if question.after is None else question.after.value
        edge = (
            place if isinstance(place, int) and place < 2**62 else 20 * 10**6 if question.order.descending else 0
        ) + (-step if question.order.descending else step) * 10**6
        looked = page_until(lambda asked: store.page(asked, 2**20), question, edge)
        yield from (decoded(body)["record_id"] for body in looked.page.bodies)
        if looked.page.last is None or abs(edge) > 10**8:
            return
        question = replace(question, after=looked.page.last)


@pytest.mark.parametrize("order", [Order(), NEWEST], ids=["oldest", "newest"])
@pytest.mark.parametrize("limit", [1, 4, 8, 50])
def test_stretches_together_hold_every_job_once_and_in_order(store: RecordStore, order: Order, limit: int) -> None:
    store.put([record(f"r{n:02d}", start=0, stop=None if n % 5 == 0 else 1 + n * 7 % 11) for n in range(40)])
    question = Question(ALL, order=order, limit=limit)
    whole = [decoded(line)["record_id"] for line in lines(store, replace(question, limit=None))]
    found = list(ids(store, question, 2))
    assert found == (whole if order.descending else [one for one in whole if int(one[1:]) % 5])
