"""The filter language, sentence by sentence. The query strings of the first part are the real client's own."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from jobmeter.model.question import (
    Bound,
    Column,
    ComponentCondition,
    MetaCondition,
    Op,
    Order,
    Question,
    Rule,
    Scope,
)
from jobmeter.model.record import AMOUNT_MAX, microseconds
from jobmeter.query.pairs import PAIRS_MAX, QUERY_MAX_BYTES
from jobmeter.query.parse import BadQuery, parse_question

ALL = Scope.everything()
NOON = microseconds(datetime(2022, 8, 8, 11, 30, tzinfo=UTC))


def asked(query: bytes | str) -> Question:
    return parse_question(query, ALL)


def fault(query: bytes | str) -> str:
    with pytest.raises(BadQuery) as caught:
        parse_question(query, ALL)
    return str(caught.value)


@pytest.mark.parametrize(
    ("query", "question"),
    [
        ("", Question(ALL)),
        (
            "start_time[gt]=2022-08-08T11%3A30%3A00%2B00%3A00&start_time[lte]=2022-08-08T11%3A30%3A00.123456%2B00%3A00",
            Question(ALL, start_time=(Bound(Op.GT, NOON), Bound(Op.LTE, NOON + 123456))),
        ),
        (
            "meta[site_id][c][0]=site+A&meta[site_id][c][1]=site%2FB&meta[site_id][dnc][0]=z",
            Question(ALL, meta=(MetaCondition("site_id", ("site A", "site/B"), ("z",)),)),
        ),
        (
            "meta[site_id][c][0]=it%27s&meta[grp%5B1%5D][c][0]=1",
            Question(ALL, meta=(MetaCondition("site_id", ("it's",)), MetaCondition("grp[1]", ("1",)))),
        ),
        (
            "component[cpu+cores][gte]=300&component[cpu+cores][equals]=255",
            Question(ALL, components=(ComponentCondition("cpu cores", (Bound(Op.GTE, 300), Bound(Op.EQUALS, 255))),)),
        ),
        ("sort_by[desc]=stop_time&limit=4", Question(ALL, order=Order(Column.STOP_TIME, descending=True), limit=4)),
        ("record_id=rec%2F1+%C3%BC%23%3F%25%26%3D%2B&limit=0", Question(ALL, record_id="rec/1 ü#?%&=+", limit=0)),
        (
            "record_id=a&start_time[gte]=2022-08-08T11%3A30%3A00%2B00%3A00"
            "&stop_time[lt]=2022-08-08T11%3A30%3A00%2B00%3A00&runtime[gte]=1&meta[s][c][0]=x&component[cpu][gt]=1"
            "&sort_by[asc]=record_id&limit=10",
            Question(
                ALL,
                record_id="a",
                start_time=(Bound(Op.GTE, NOON),),
                stop_time=(Bound(Op.LT, NOON),),
                runtime=(Bound(Op.GTE, 1),),
                meta=(MetaCondition("s", ("x",)),),
                components=(ComponentCondition("cpu", (Bound(Op.GT, 1),)),),
                order=Order(Column.RECORD_ID),
                limit=10,
            ),
        ),
    ],
)
def test_what_the_real_client_writes_is_understood(query: str, question: Question) -> None:
    assert asked(query) == question
    assert asked(query.encode()) == question


def test_the_scope_is_carried_into_the_question() -> None:
    scope = Scope(((Rule("group", ("physics",)),),))
    assert parse_question("limit=1", scope) == Question(scope, limit=1)


@pytest.mark.parametrize("bracket", [("%5B", "%5D"), ("%5b", "%5d"), ("[", "]")])
def test_brackets_may_be_literal_or_encoded(bracket: tuple[str, str]) -> None:
    query = "meta[a][c][0]=x&runtime[gt]=5&sort_by[asc]=runtime".replace("[", bracket[0]).replace("]", bracket[1])
    assert asked(query) == Question(
        ALL, runtime=(Bound(Op.GT, 5),), meta=(MetaCondition("a", ("x",)),), order=Order(Column.RUNTIME)
    )


def test_a_library_that_encodes_all_brackets_reaches_a_meta_key_that_holds_some() -> None:
    assert asked("meta%5Bgrp%5B1%5D%5D%5Bc%5D%5B0%5D=1").meta == (MetaCondition("grp[1]", ("1",)),)


@pytest.mark.parametrize("key", ["1abc", "42", "007", "2nd+user", "%C3%BC", "a%5Bb", "a%5Db", "a.b", "a%26b%3Dc"])
def test_any_name_is_a_meta_key(key: str) -> None:
    plain = {"2nd+user": "2nd user", "%C3%BC": "ü", "a%5Bb": "a[b", "a%5Db": "a]b", "a%26b%3Dc": "a&b=c"}.get(key, key)
    assert asked(f"meta[{key}][c][0]=x").meta == (MetaCondition(plain, ("x",)),)
    assert asked(f"component[{key}][gt]=1").components == (ComponentCondition(plain, (Bound(Op.GT, 1),)),)


def test_meta_values_stand_in_the_order_of_their_indices() -> None:
    assert asked("meta[k][c][2]=c&meta[k][c][0]=a&meta[k][c][1]=b").meta == (MetaCondition("k", ("a", "b", "c")),)


def test_meta_values_without_index_add_up() -> None:
    assert asked("meta[k][c][]=a&meta[k][c][]=b&meta[k][dnc][]=z").meta == (MetaCondition("k", ("a", "b"), ("z",)),)


def test_the_scalar_meta_form_of_clients_before_0_10_is_understood() -> None:
    assert asked("meta[k][c]=v&meta[k][dnc]=w&meta[other][c]=x").meta == (
        MetaCondition("k", ("v",), ("w",)),
        MetaCondition("other", ("x",)),
    )


def test_strict_and_loose_bounds_of_one_field_apply_together() -> None:
    query = "runtime[equals]=3&runtime[lte]=4&runtime[gte]=2&runtime[lt]=5&runtime[gt]=1"
    assert asked(query).runtime == (
        Bound(Op.GT, 1),
        Bound(Op.LT, 5),
        Bound(Op.GTE, 2),
        Bound(Op.LTE, 4),
        Bound(Op.EQUALS, 3),
    )


def test_times_can_be_compared_for_equality() -> None:
    assert asked("stop_time[equals]=2022-08-08T11:30:00Z").stop_time == (Bound(Op.EQUALS, NOON),)


@pytest.mark.parametrize(
    "time", ["2022-8-8T11:30:0z", "2022-08-08+11:30:00+utc", "2022-08-08T13:30:00%2B0200", "2022-08-08t11:30:00.0Z"]
)
def test_times_are_read_by_the_relaxed_rules(time: str) -> None:
    assert asked(f"start_time[lt]={time}").start_time == (Bound(Op.LT, NOON),)


def test_ascending_wins_over_descending() -> None:
    for query in ("sort_by[asc]=runtime&sort_by[desc]=start_time", "sort_by[desc]=start_time&sort_by[asc]=runtime"):
        assert asked(query).order == Order(Column.RUNTIME)


@pytest.mark.parametrize(
    "query",
    [
        "limit=",
        "limit",
        "record_id=",
        "start_time=",
        "start_time[gt]=",
        "runtime[equals]",
        "meta=",
        "meta[k]=",
        "meta[k][c]=",
        "component=",
        "component[cpu]=",
        "component[cpu][gt]=",
        "sort_by=",
        "sort_by[asc]=",
        "&&&",
        "limit=&",
    ],
)
def test_an_empty_value_is_not_given(query: str) -> None:
    assert asked(query) == Question(ALL)


def test_repeated_ampersands_are_passed_over() -> None:
    assert asked("&limit=1&&&sort_by[asc]=runtime&") == Question(ALL, limit=1, order=Order(Column.RUNTIME))


@pytest.mark.parametrize("op", ["gt", "gte", "equals"])
@pytest.mark.parametrize("number", [2**63, 2**64 - 1])
def test_no_number_reaches_a_bound_beyond_what_is_stored(op: str, number: int) -> None:
    assert asked(f"runtime[{op}]={number}&runtime[lt]=7").runtime == (Bound(Op.GT, AMOUNT_MAX),)


@pytest.mark.parametrize("op", ["lt", "lte"])
def test_every_number_lies_below_a_bound_beyond_what_is_stored(op: str) -> None:
    assert asked(f"component[cpu][{op}]={2**64 - 1}").components == (
        ComponentCondition("cpu", (Bound(Op.LTE, AMOUNT_MAX),)),
    )
    assert asked(f"runtime[{op}]={2**63}&runtime[gt]=7").runtime == (Bound(Op.GT, 7),)


def test_a_limit_beyond_what_a_database_counts_is_its_largest() -> None:
    assert asked(f"limit={2**64 - 1}").limit == AMOUNT_MAX


def test_numbers_may_have_leading_zeros_and_a_plus() -> None:
    assert asked("limit=007").limit == 7
    assert asked("limit=%2B7").limit == 7


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        (
            "foo=1",
            "unknown field `foo`, expected one of `record_id`, `start_time`, `stop_time`, `runtime`, `meta`, "
            "`component`, `sort_by`, `limit`",
        ),
        ("start_time[eq]=1", "start_time[eq]: unknown field `eq`, expected one of `gt`, `lt`, `gte`, `lte`, `equals`"),
        (
            "component[c][is]=",
            "component[c][is]: unknown field `is`, expected one of `gt`, `lt`, `gte`, `lte`, `equals`",
        ),
        ("meta[site][equals]=x", "meta[site][equals]: unknown field `equals`, expected `c` or `dnc`"),
        ("sort_by[up]=runtime", "sort_by[up]: unknown variant `up`, expected `asc` or `desc`"),
        (
            "sort_by[asc]=amount",
            "sort_by[asc]: unknown variant `amount`, expected one of `start_time`, `stop_time`, `runtime`, `record_id`",
        ),
        ("sort_by=asc", "sort_by: needs a direction, such as sort_by[asc]=stop_time"),
        ("limit=1&limit=1", 'Multiple values for one key: "limit"'),
        ("limit=&limit=1", 'Multiple values for one key: "limit"'),
        ("runtime[gt]=1&runtime[gt]=2", 'Multiple values for one key: "runtime[gt]"'),
        ("runtime[gt]=1&runtime%5Bgt%5D=2", 'Multiple values for one key: "runtime[gt]"'),
        ("meta[k][c][0]=1&meta[k][c][00]=2", 'Multiple values for one key: "meta[k][c][00]"'),
        ("meta[k][c]=1&meta[k][c]=2", 'Multiple values for one key: "meta[k][c]"'),
        ("sort_by[asc]=runtime&sort_by[asc]=runtime", 'Multiple values for one key: "sort_by[asc]"'),
        ("runtime=5", "runtime: needs one operator in brackets: one of `gt`, `lt`, `gte`, `lte`, `equals`"),
        ("start_time=2022-08-08T11:30:00Z", "start_time: needs one operator in brackets"),
        ("component=cpu", "component: needs a component's name and an operator"),
        ("component[cpu]=4", "component[cpu]: needs one operator in brackets"),
        ("component[cpu][gt][0]=4", "component[cpu][gt][0]: needs one operator in brackets"),
        ("meta=x", "meta: needs a key and an operator"),
        ("meta[k]=x", "meta[k]: needs a key and an operator"),
        ("meta[k][c][0][0]=x", "meta[k][c][0][0]: is nested too deeply"),
        ("meta[k][c][x]=1", "meta[k][c][x]: `x` is not an index: invalid digit found in string"),
        ("meta[k][c][0]=", "meta[k][c][0]: the name '' is blank"),
        ("meta[+][c][0]=x", "meta[ ][c][0]: the name ' ' is blank"),
        ("meta[k][dnc][0]=%00x", "meta[k][dnc][0]: the name '\\x00x' contains the character NUL"),
        ("record_id=++", "record_id: the name '  ' is blank"),
        (f"record_id={'a' * 257}", "record_id: the name"),
        ("record_id[0]=x", "record_id[0]: takes one value, written record_id=value"),
        ("limit=-1", "limit: Parsing '-1' failed"),
        ("limit=1.0", "limit: Parsing '1.0' failed"),
        ("limit=1_0", "limit: Parsing '1_0' failed"),
        ("limit=%D9%A1", "limit: Parsing '\u0661' failed"),
        (f"runtime[gt]={2**64}", "runtime[gt]: Parsing '18446744073709551616' failed"),
        ("start_time[gt]=2022-08-08", "start_time[gt]: '2022-08-08' is not a date and time with a zone"),
        ("stop_time[lt]=2022-08-08T11:30:00+00:00", "write it %2B"),
        ("stop_time[lt]=2022-02-30T11:30:00Z", "stop_time[lt]: '2022-02-30T11:30:00Z' is not a date and time"),
        ("start_time[gt=1", "start_time[gt: its brackets do not match"),
        ("start_time[gt]x=1", "start_time[gt]x: its brackets do not match"),
        ("start_time%5Bgt=1", "start_time[gt: its brackets do not match"),
        ("runtime%5Bgt%5D%5D=1", "runtime[gt]]: its brackets do not match"),
        ("limit%5B%5Dx=1", "limit[]x: its brackets do not match"),
        ("=1", "unknown field ``"),
        ("%FF=1", "a key is not valid UTF-8"),
        ("meta[%FF][c][0]=1", "a key is not valid UTF-8"),
        ("limit=%FF", "the value of limit is not valid UTF-8"),
        ("limit=\udc80", "the query string contains a lone surrogate"),
    ],
)
def test_a_fault_is_told_in_one_sentence(query: str, sentence: str) -> None:
    assert sentence in fault(query)
    assert len(fault(query)) < 400


def test_raw_bytes_that_are_no_text_are_a_fault() -> None:
    assert fault(b"record_id=\xff\xfe") == "the value of record_id is not valid UTF-8"


def test_a_percent_sign_that_encodes_nothing_stands_for_itself() -> None:
    assert asked("record_id=100%&meta[%zz][c][0]=%4").meta == (MetaCondition("%zz", ("%4",)),)


def test_the_name_of_a_fault_is_cut_when_it_is_long() -> None:
    assert fault("x" * 5000) == "unknown field `" + "x" * 80 + "...`, expected one of `record_id`, `start_time`, " + (
        "`stop_time`, `runtime`, `meta`, `component`, `sort_by`, `limit`, `score`, `as_of`"
    )


def test_names_are_counted_in_graphemes() -> None:
    name = "e\u0301" * 256
    assert asked(f"record_id={name}").record_id == name
    assert "has 257 characters, 256 are allowed" in fault(f"record_id={name}a")


def test_the_length_of_a_query_string_is_bounded() -> None:
    longest = "&" * QUERY_MAX_BYTES
    assert asked(longest) == Question(ALL)
    assert "65536 are allowed" in fault(longest + "&")


def test_the_number_of_conditions_is_bounded() -> None:
    most = "&".join(f"meta[k][dnc][{number}]=v{number}" for number in range(PAIRS_MAX))
    assert len(asked(most).meta[0].lacks) == PAIRS_MAX
    assert "200 are allowed" in fault(f"{most}&limit=1")
