"""The set of recorded pods, beside a plain set of their names."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobmeter.model.record import EPOCH
from jobmeter.observe.kubernetes.cursor import CursorUnreadable, Scope, State, state_of
from jobmeter.observe.kubernetes.marks import Marks

NAMES = [f"{number:08}-0000-4000-8000-000000000000" for number in range(40)]
STEPS = st.lists(st.tuples(st.sampled_from(("add", "discard")), st.sampled_from(NAMES)), max_size=200)


def _after(steps: list[tuple[str, str]]) -> tuple[Marks, set[str]]:
    marks, names = Marks(), set[str]()
    for step, name in steps:
        getattr(marks, step)(name)
        getattr(names, step)(name)
    return marks, names


def _named(marks: Marks) -> set[str]:
    return {name for name in NAMES if name in marks}


@given(STEPS)
def test_it_holds_what_a_set_would_hold(steps: list[tuple[str, str]]) -> None:
    marks, names = _after(steps)
    assert _named(marks) == names
    assert len(marks) == len(names)


@given(STEPS, STEPS)
def test_what_two_sets_share_is_left_of_both(some: list[tuple[str, str]], others: list[tuple[str, str]]) -> None:
    (marks, names), (other_marks, other_names) = _after(some), _after(others)
    marks &= other_marks
    assert _named(marks) == names & other_names
    assert len(marks) == len(names & other_names)


@given(STEPS)
def test_a_cursor_gives_the_same_set_back(steps: list[tuple[str, str]]) -> None:
    marks, names = _after(steps)
    back = state_of(State({"a": Scope(EPOCH, "", done=marks)}).text()).scopes["a"].done
    assert _named(back) == names
    assert len(back) == len(names)


@pytest.mark.parametrize("told", ['"?"', '"AAAA"', '["0123456789abcdef"]', "7"])
def test_a_cursor_whose_set_is_spoilt_is_unreadable(told: str) -> None:
    with pytest.raises(CursorUnreadable):
        state_of(f'{{"form":1,"scopes":{{"a":{{"first":"2024-01-01T00:00:00Z","selector":"","done":{told}}}}}}}')


def test_a_hundred_thousand_names_take_no_more_than_25_bytes_each() -> None:
    marks = Marks()
    for number in range(100_000):
        marks.add(f"{number:08}-0000-4000-8000-000000000000")
    assert len(marks) == 100_000
    assert sys.getsizeof(marks._places) <= 25 * 100_000
