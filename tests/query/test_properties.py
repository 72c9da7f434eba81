"""The filter language, for any input: nothing but a question or a fault, and the meaning that was put in."""

from __future__ import annotations

from datetime import UTC, datetime
from operator import eq, ge, gt, le, lt
from urllib.parse import quote, quote_plus

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from jobmeter.model.question import Bound, Column, ComponentCondition, MetaCondition, Op, Order, Question, Scope
from jobmeter.model.record import AMOUNT_MAX, from_microseconds, microseconds
from jobmeter.query.build import query_string
from jobmeter.query.parse import BadQuery, parse_question

ALL = Scope.everything()
OPS = (Op.GT, Op.LT, Op.GTE, Op.LTE, Op.EQUALS)
COMPARE = {"gt": gt, "lt": lt, "gte": ge, "lte": le, "equals": eq}

names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12).filter(
    lambda text: not text.isspace()
)
times = st.datetimes(
    min_value=datetime(1, 1, 2),  # noqa: DTZ001 - hypothesis wants naive ends and adds the zone
    max_value=datetime(9999, 12, 30),  # noqa: DTZ001
    timezones=st.just(UTC),
)


def bounds_of(values: st.SearchStrategy[int]) -> st.SearchStrategy[tuple[Bound, ...]]:
    chosen = st.dictionaries(st.sampled_from(OPS), values, max_size=3)
    return chosen.map(lambda found: tuple(Bound(op, found[op]) for op in OPS if op in found))


counts = st.integers(0, AMOUNT_MAX)
metas = st.builds(
    MetaCondition, names, st.lists(names, max_size=3).map(tuple), st.lists(names, min_size=1, max_size=3).map(tuple)
)
components = st.builds(ComponentCondition, names, bounds_of(counts).filter(bool))
questions = st.builds(
    Question,
    st.just(ALL),
    record_id=st.none() | names,
    start_time=bounds_of(times.map(microseconds)),
    stop_time=bounds_of(times.map(microseconds)),
    runtime=bounds_of(counts),
    meta=st.lists(metas, max_size=3, unique_by=lambda item: item.key).map(tuple),
    components=st.lists(components, max_size=3, unique_by=lambda item: item.name).map(tuple),
    order=st.builds(Order, st.sampled_from(Column), st.booleans()),
    limit=st.none() | counts,
    as_of_us=st.none() | times.map(microseconds),
)


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_anything_is_a_question_or_a_fault(query: bytes | str) -> None:
    try:
        assert isinstance(parse_question(query, ALL), Question)
    except BadQuery as fault:
        assert fault.reason in str(fault)


KEYS = ["record_id", "start_time", "stop_time", "runtime", "meta", "component", "sort_by", "limit", "as_of"]
MARKS = ["[", "]", "%5B", "%5D", "%5b", "=", "&", "+", "%FF", "%00", "\ud800"]
OPERATORS = ["gt", "gte", "lt", "lte", "equals", "c", "dnc", "asc", "desc"]
VALUES = ["0", "1", "-1", str(2**64 - 1), "9" * 23, "2024-01-31T12:00:00Z", "x", "ü"]
fragments = st.sampled_from(KEYS + MARKS + OPERATORS + VALUES)


@given(st.lists(fragments, max_size=24).map("".join))
@settings(max_examples=300)
def test_any_mixture_of_the_language_is_a_question_or_a_fault(query: str) -> None:
    try:
        question = parse_question(query, ALL)
    except BadQuery:
        return
    found = [*question.start_time, *question.stop_time, *question.runtime]
    found += [bound for component in question.components for bound in component.bounds]
    assert all(-AMOUNT_MAX <= bound.value <= AMOUNT_MAX for bound in found)
    assert question.limit is None or 0 <= question.limit <= AMOUNT_MAX


@given(questions)
def test_a_written_question_is_read_back(question: Question) -> None:
    assert parse_question(query_string(question), ALL) == question


class Speaker:
    """Writes a question in one of the many ways that the language allows, without the code under test."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.encoded_brackets = draw(st.booleans())
        self.unordered = draw(st.booleans())
        self.pairs: list[str] = []

    def escaped(self, text: str) -> str:
        if not self.draw(st.booleans()):
            return quote_plus(text)
        return "".join(f"%{byte:02x}" for byte in text.encode()) if self.draw(st.booleans()) else quote(text, safe="")

    def say(self, path: list[str], value: str) -> None:
        if self.encoded_brackets:
            key = path[0] + "".join(f"[{name}]" for name in path[1:])
            self.pairs.append(f"{quote(key, safe='')}={self.escaped(value)}")
        else:
            key = path[0] + "".join(f"[{self.escaped(name)}]" for name in path[1:])
            self.pairs.append(f"{key}={self.escaped(value)}")

    def bounds(self, path: list[str], bounds: tuple[Bound, ...], *, are_times: bool = False) -> None:
        for bound in bounds:
            text = from_microseconds(bound.value).isoformat() if are_times else str(bound.value)
            self.say([*path, bound.op.value], text)

    def values(self, path: list[str], values: tuple[str, ...]) -> None:
        form = self.draw(st.sampled_from(["indexed", "unindexed", "scalar"]))
        if form == "scalar" and len(values) == 1:
            self.say(path, values[0])
            return
        for index, value in enumerate(values):
            self.say([*path, "" if form == "unindexed" and not self.unordered else str(index)], value)

    def question(self, question: Question) -> str:
        if question.record_id is not None:
            self.say(["record_id"], question.record_id)
        self.bounds(["start_time"], question.start_time, are_times=True)
        self.bounds(["stop_time"], question.stop_time, are_times=True)
        self.bounds(["runtime"], question.runtime)
        for meta in question.meta:
            self.values(["meta", meta.key, "c"], meta.contains)
            self.values(["meta", meta.key, "dnc"], meta.lacks)
        for component in question.components:
            self.bounds(["component", component.name], component.bounds)
        self.say(["sort_by", "desc" if question.order.descending else "asc"], question.order.column.value)
        if question.as_of_us is not None:
            self.say(["as_of"], from_microseconds(question.as_of_us).isoformat())
        if question.limit is not None:
            self.say(["limit"], str(question.limit))
        if self.unordered:
            self.pairs = self.draw(st.permutations(self.pairs))
        return self.draw(st.sampled_from(["&", "&&", "&runtime&"])).join(self.pairs)


def unordered(question: Question) -> tuple[object, ...]:
    """What does not depend on the order of the pairs."""
    return (
        question.record_id,
        question.start_time,
        question.stop_time,
        question.runtime,
        {meta.key: meta for meta in question.meta},
        {component.name: component for component in question.components},
        question.order,
        question.limit,
        question.as_of_us,
    )


@st.composite
def sayings(draw: st.DrawFn) -> tuple[str, Question]:
    question = draw(questions)
    speaker = Speaker(draw)
    if speaker.encoded_brackets:  # then a name's own brackets must be in pairs; see the tests of single sentences
        question = without_brackets(question)
    return speaker.question(question), question


def without_brackets(question: Question) -> Question:
    return replace(
        question,
        meta=tuple(item for item in question.meta if not set(item.key) & set("[]")),
        components=tuple(item for item in question.components if not set(item.name) & set("[]")),
    )


@given(sayings())
def test_every_way_to_say_a_question_means_it(saying: tuple[str, Question]) -> None:
    query, question = saying
    assert unordered(parse_question(query, ALL)) == unordered(question)
    assert unordered(parse_question(query.encode(), ALL)) == unordered(question)


sizes = st.sampled_from([0, 1, 5, AMOUNT_MAX - 1, AMOUNT_MAX, 2**63, 2**63 + 1, 2**64 - 1])


@given(
    st.dictionaries(st.sampled_from(sorted(COMPARE)), sizes, min_size=1), sizes.map(lambda size: min(size, AMOUNT_MAX))
)
def test_bounds_hold_for_the_same_numbers_as_what_was_written(written: dict[str, int], stored: int) -> None:
    meant = all(COMPARE[op](stored, bound) for op, bound in written.items())
    query = "&".join(f"runtime[{op}]={bound}" for op, bound in written.items())
    bounds = parse_question(query, ALL).runtime
    assert bounds
    assert all(bound.value <= AMOUNT_MAX for bound in bounds)
    assert all(COMPARE[bound.op.value](stored, bound.value) for bound in bounds) is meant
