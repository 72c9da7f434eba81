"""How far one page of jobs looks: no job is shown twice or left out, and the page says where it stopped."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from jobmeter.model.question import Bound, Column, ComponentCondition, MetaCondition, Op, Order, Position, Question
from jobmeter.serve.view import stretch
from jobmeter.serve.view.stretch import LOOKED_MAX, OPENED_MAX, Span, edge_of, jobs_max
from tests.given import ALL
from tests.serve.pages.given import JOBS, facility, link, rows, seen

SPANS = (Span(0, 100, 10), Span(100, 200, 1000), Span(300, 400, 100))
NEWEST = Order(descending=True)
ONE_USER = (MetaCondition("user_id", ("ann",)),)


def test_the_newest_jobs_are_counted_back_from_the_end() -> None:
    question = Question(ALL, meta=ONE_USER, order=NEWEST)
    assert edge_of(question, SPANS, 50) == 350
    assert edge_of(question, SPANS, 100 + 250) == 175
    assert edge_of(question, SPANS, 5000) is None
    assert edge_of(replace(question, after=Position(150, 7)), SPANS, 250) == 125
    assert edge_of(replace(question, stop_time=(Bound(Op.LT, 150),)), SPANS, 250) == 125
    assert edge_of(replace(question, stop_time=(Bound(Op.GTE, 320),)), SPANS, 100) is None


def test_the_oldest_are_counted_from_the_beginning_where_they_come_first() -> None:
    question = Question(ALL, meta=ONE_USER)
    assert edge_of(question, SPANS, 5) == 50
    assert edge_of(replace(question, after=Position(150, 7)), SPANS, 250) == 175


def test_other_orders_take_the_newest() -> None:
    assert edge_of(Question(ALL, order=Order(Column.RUNTIME)), SPANS, 50) == 350


def test_an_index_that_leads_to_the_answer_needs_no_bound() -> None:
    assert jobs_max(Question(ALL, order=NEWEST)) is None
    assert jobs_max(Question(ALL, order=Order(Column.RECORD_ID))) is None
    assert jobs_max(Question(ALL, record_id="a", meta=ONE_USER)) is None
    assert jobs_max(Question(ALL, meta=ONE_USER)) == LOOKED_MAX
    assert jobs_max(Question(ALL, order=Order(Column.RUNTIME, descending=True))) == LOOKED_MAX
    assert jobs_max(Question(ALL, components=(ComponentCondition("Cores", ()),))) == OPENED_MAX
    assert jobs_max(Question(ALL, meta=(MetaCondition("voms", ("a",)),))) == OPENED_MAX


def test_a_page_that_looked_at_its_most_says_so_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stretch, "LOOKED_MAX", 25)
    with facility(tmp_path) as server:
        path, found, pages = "/jobs?since=&user=bob", [], 0
        while True:
            answer = seen(server, path)
            found += [row[0] for row in rows(answer) if row and row[0].startswith("slurm-")]
            pages += 1
            if "Look further" not in answer.body.decode():
                break
            path = link(answer, "Look further")
        assert found == [f"slurm-{number}" for number in range(JOBS) if number % 3 == 1]
        assert pages >= 3


def test_what_is_too_much_to_sort_is_sorted_part_by_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stretch, "LOOKED_MAX", 45)
    with facility(tmp_path) as server:
        path, found = "/jobs?since=&order=-runtime", []
        while True:
            answer = seen(server, path)
            found += [row[0] for row in rows(answer) if row and row[0].startswith("slurm-")]
            if "Sort those before" not in answer.body.decode():
                break
            path = link(answer, "Sort those before")
        assert sorted(found) == sorted(f"slurm-{number}" for number in range(JOBS))
