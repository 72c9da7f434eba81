"""Cursors and columns of `GET /v2/records`."""

from __future__ import annotations

import base64

import pytest
from msgspec.structs import replace

from jobmeter.model.question import Position, Question, Rule, Scope
from jobmeter.query.cursor import cursor_of, place_of
from jobmeter.query.fault import BadQuery
from jobmeter.query.listing import parse_listing
from jobmeter.query.parse import parse_question

ALL = Scope.everything()
FILTER = "meta[site_id][c][0]=A&sort_by[desc]=stop_time"


@pytest.mark.parametrize("place", [Position(7, 1), Position(-1, 2**62), Position(None, 0)])
def test_a_cursor_comes_back_as_the_place(place: Position) -> None:
    question = parse_question(FILTER, ALL)
    listing = parse_listing(f"{FILTER}&limit=5&cursor={cursor_of(question, place)}", ALL)
    assert listing.question == replace(question, limit=5, after=place)


def test_a_cursor_holds_whatever_the_limit_and_the_scope_are() -> None:
    cursor = cursor_of(parse_question(f"{FILTER}&limit=3", ALL), Position(1, 1))
    assert parse_listing(f"{FILTER}&cursor={cursor}", Scope(((Rule("site_id", ("A",)),),))).question.after is not None


def test_a_cursor_of_another_question_is_refused() -> None:
    cursor = cursor_of(parse_question(FILTER, ALL), Position(1, 1))
    with pytest.raises(BadQuery, match="another question"):
        parse_listing(f"cursor={cursor}", ALL)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"nonsense",
        b'[1,"%s","text",1]',
        b'[1,"%s",1,-1]',
        b'[2,"%s",1,1]',
        b'[1,"%s",99999999999999999999,1]',
        b'[1,"%s",1,99999999999999999999]',
        b'[1,"%s",1.5,1]',
    ],
)
def test_a_made_up_cursor_is_refused(content: bytes) -> None:
    question = Question(ALL)
    mark = base64.urlsafe_b64decode(cursor_of(question, Position(1, 1)) + "==").split(b'"')[1]
    made_up = base64.urlsafe_b64encode(content.replace(b"%s", mark)).decode()
    with pytest.raises(BadQuery, match="cursor"):
        place_of(question, made_up or "=")


@pytest.mark.parametrize("value", ['"a\\u0000"', "1", "null"])
def test_a_cursor_by_record_id_needs_a_text_that_can_be_stored(value: str) -> None:
    question = parse_question("sort_by[asc]=record_id", ALL)
    good = cursor_of(question, Position("a", 1))
    content = base64.urlsafe_b64decode(good + "==").replace(b'"a"', value.encode())
    if value == "null":
        assert place_of(question, good) == Position("a", 1)
    with pytest.raises(BadQuery):
        place_of(question, base64.urlsafe_b64encode(content).decode())


@pytest.mark.parametrize("query", ["cursor[a]=1", "cursor=a&cursor=b", "columns=a,,b", "columns=x&columns=y", "nope=1"])
def test_a_listing_that_is_not_understood_is_refused(query: str) -> None:
    with pytest.raises(BadQuery):
        parse_listing(query, ALL)


def test_an_empty_cursor_is_the_beginning_and_columns_are_listed() -> None:
    listing = parse_listing("cursor=&columns=record_id,meta.a b", ALL)
    assert listing.question == Question(ALL)
    assert listing.columns == ("record_id", "meta.a b")
