"""What every record store does, on SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone

import pytest

from jobmeter.contract import RecordStore, StoreUnavailable
from jobmeter.model.letter import DeadLetter
from jobmeter.model.outcome import Stopped, Stored
from jobmeter.model.question import Bound, Column, ComponentCondition, MetaCondition, Op, Order, Question, Rule, Scope
from jobmeter.model.record import AMOUNT_MAX, Component, Record, RecordStop, Score
from jobmeter.store.chunks import CHUNK_BYTES
from jobmeter.wire.auditor import decode_record, encode_record
from tests.given import ALL, decoded, ids, lines, record, second

HOSTILE = [
    "quote \" and \\ and ' and ; DROP TABLE records; --",
    "dots.and[brackets]{$.meta}",
    "%s %(x)s %% :name ? $1 ||",
    "line\nbreak\ttab \x01\x1f\x7f",
    "ünïcode \u2028 \U0001f469\u200d\U0001f469\u200d\U0001f467 \ufffe",
    "\\u0000 \\n",
    "null",
    "*",
    " leading and trailing ",
]


def test_a_new_record_is_stored_and_comes_back_as_it_was(store: RecordStore) -> None:
    given = Record(
        record_id="a/b?c#d",
        components=(Component("cpu", AMOUNT_MAX, (Score("hs", 1.05e-8), Score("z", 0.0))), Component("cpu", 0, ())),
        start_time=datetime(1, 1, 1, tzinfo=UTC),
        meta={"site_id": ("A", "B", "A"), "empty": (), "nodes": ("n1",)},
        stop_time=datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    )
    assert store.put([given]) == [Stored.NEW]
    body = store.one("a/b?c#d", ALL)
    assert body == encode_record(given)
    assert body is not None
    assert decode_record(body) == given


def test_absent_meta_and_empty_meta_stay_apart(store: RecordStore) -> None:
    store.put([record("none"), record("empty", meta={})])
    assert [decoded(line)["meta"] for line in lines(store, Question(ALL))] == [None, {}]
    assert store.put([record("none", meta={})]) == [Stored.CONFLICT]


def test_an_unknown_id_gives_none(store: RecordStore) -> None:
    assert store.one("nobody", ALL) is None


def test_nothing_to_put_is_no_fault(store: RecordStore) -> None:
    assert store.put([]) == []
    assert store.stop([]) == []
    store.bury([])


def test_the_same_record_again_is_same_and_another_is_conflict(store: RecordStore) -> None:
    store.put([record("a", components=(("cpu", 1),))])
    assert store.put([record("a", components=(("cpu", 1),))]) == [Stored.SAME]
    assert store.put([record("a", components=(("cpu", 2),))]) == [Stored.CONFLICT]
    assert decoded(store.one("a", ALL) or b"")["components"][0]["amount"] == 1
    assert store.counts() == {"": 1}


def test_a_running_job_sent_again_after_it_stopped_is_same(store: RecordStore) -> None:
    running = record("a", stop=None, components=(("cpu", 1),))
    store.put([running])
    store.stop([RecordStop("a", second(10))])
    assert store.put([running]) == [Stored.SAME]
    assert store.put([record("a", stop=None, components=(("cpu", 2),))]) == [Stored.CONFLICT]
    assert decoded(store.one("a", ALL) or b"")["runtime"] == 10


def test_the_order_of_meta_keys_does_not_matter_that_of_values_does(store: RecordStore) -> None:
    store.put([record("a", meta={"x": ("1", "2"), "site": ("A",)})])
    assert store.put([record("a", meta={"site": ("A",), "x": ("1", "2")})]) == [Stored.SAME]
    assert store.put([record("a", meta={"site": ("A",), "x": ("2", "1")})]) == [Stored.CONFLICT]


def test_the_same_instant_in_another_zone_is_same(store: RecordStore) -> None:
    there = second(3600).astimezone(timezone(timedelta(hours=2)))
    store.put([Record("a", (), second(0), None, second(3600))])
    assert store.put([Record("a", (), second(0), None, there)]) == [Stored.SAME]


def test_a_duplicate_in_a_batch_discards_nothing_else(store: RecordStore) -> None:
    store.put([record("old")])
    answers = store.put(
        [record("new"), record("old"), record("old", stop=11), record("new"), record("new", stop=11), record("other")]
    )
    assert answers == [Stored.NEW, Stored.SAME, Stored.CONFLICT, Stored.SAME, Stored.CONFLICT, Stored.NEW]
    assert ids(store) == ["old", "new", "other"]


def test_a_conflict_and_then_the_stored_record_in_one_batch(store: RecordStore) -> None:
    store.put([record("a")])
    assert store.put([record("a", stop=11), record("a")]) == [Stored.CONFLICT, Stored.SAME]


def test_a_name_that_no_database_can_hold_is_refused_alone(store: RecordStore) -> None:
    answers = store.put(
        [record("a"), record("nul\0"), record("half\ud800"), record("b", meta={"x": ("\0",)}), record("c")]
    )
    assert answers == [Stored.NEW, Stored.REFUSED, Stored.REFUSED, Stored.REFUSED, Stored.NEW]
    assert ids(store) == ["a", "c"]


def test_asking_for_such_a_name_finds_nothing(store: RecordStore) -> None:
    store.put([record("a", meta={"site": ("A",), "x": ("1",)}, components=(("cpu", 1),))])
    for name in ("nul\0", "half\ud800"):
        assert store.one(name, ALL) is None
        assert store.stop([RecordStop(name, second(20))]) == [Stopped.UNKNOWN]
        assert ids(store, record_id=name) == []
        assert ids(store, Scope(((Rule(name, ("A",)),), (Rule("site", (name,)),), (Rule("x", (name,)),)))) == []
        assert ids(store, components=(ComponentCondition(name, ()),)) == []
        for key in ("site", "x"):
            assert ids(store, meta=(MetaCondition(name, ("A",)),)) == []
            assert ids(store, meta=(MetaCondition(key, (name,)),)) == []
            assert ids(store, meta=(MetaCondition(key, (), (name,)),)) == ["a"]


def test_very_long_names_are_kept_whole_and_told_apart(store: RecordStore) -> None:
    long = "e" + "\u0301" * 20_000
    meta = {"site": (long,), "user_id": tuple(f"{long}{number}" for number in range(3)), long: (long,)}
    given = record(long, meta=meta, components=((long, 1),))
    assert store.put([given, record(long + "x"), record("short")]) == [Stored.NEW] * 3
    assert store.put([given]) == [Stored.SAME]
    assert store.one(long, ALL) == encode_record(given)
    for key, value in (("site", long), ("user_id", f"{long}2"), (long, long)):
        assert ids(store, meta=(MetaCondition(key, (value,)),)) == [long]
    assert ids(store, order=Order(Column.RECORD_ID))[2] == "short"
    assert store.stop([RecordStop(long, second(20))]) == [Stopped.DONE]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_only_names(store: RecordStore, name: str) -> None:
    given = record(name, meta={name: (name,), "site": (name,), "user": (name, "x")}, components=((name, 5),))
    store.put([given, record("other", meta={"other": ("x",), "site": ("x",)}, components=(("other", 5),))])
    assert store.one(name, ALL) == encode_record(given)
    assert ids(store, record_id=name) == [name]
    for key in (name, "site", "user"):
        assert ids(store, meta=(MetaCondition(key, (name,)),)) == [name]
        assert ids(store, meta=(MetaCondition(key, (), (name,)),)) == (["other"] if key == "site" else [])
        assert ids(store, Scope(((Rule(key, ("nothing", name)),),))) == [name]
    assert ids(store, components=(ComponentCondition(name, (Bound(Op.EQUALS, 5),)),)) == [name]
    assert store.counts("site") == {name: 1, "x": 1}
    assert store.put([given]) == [Stored.SAME]


def test_a_stop_sets_stop_time_and_runtime_and_nothing_else(store: RecordStore) -> None:
    given = record("a", start=1.5, stop=None, meta={"x": ("1",)}, components=(("cpu", 1),))
    store.put([given])
    assert decoded(store.one("a", ALL) or b"")["runtime"] is None
    assert store.stop([RecordStop("a", second(11.4))]) == [Stopped.DONE]
    assert decoded(store.one("a", ALL) or b"") == decoded(encode_record(given)) | {
        "stop_time": "1970-01-01T00:00:11.400Z",
        "runtime": 9,
    }
    assert ids(store, stop_time=(Bound(Op.EQUALS, 11_400_000),)) == ["a"]
    assert ids(store, runtime=(Bound(Op.EQUALS, 9),)) == ["a"]


def test_a_later_stop_overwrites_an_earlier_one(store: RecordStore) -> None:
    store.put([record("a", stop=10)])
    assert store.stop([RecordStop("a", second(20)), RecordStop("a", second(15))]) == [Stopped.DONE] * 2
    assert decoded(store.one("a", ALL) or b"")["runtime"] == 15


def test_stops_of_unknown_records_and_before_the_start_change_nothing(store: RecordStore) -> None:
    store.put([record("a", start=5, stop=10), record("b", start=5, stop=10)])
    stops = [RecordStop("nobody", second(20)), RecordStop("a", second(4.999999)), RecordStop("b", second(5))]
    assert store.stop(stops) == [Stopped.UNKNOWN, Stopped.BEFORE_START, Stopped.DONE]
    assert [decoded(line)["runtime"] for line in lines(store, Question(ALL))] == [0, 5]


@pytest.fixture
def four(store: RecordStore) -> RecordStore:
    """Records a to d, of which c still runs; d ends with b."""
    store.put(
        [
            record("b", start=1, stop=20, meta={"site_id": ("A", "B"), "k": ("1", "2")}),
            record("a", start=3, stop=10.5, meta={"site_id": ("A",), "k": ("2",), "group": ("g",)}),
            record("c", start=2, stop=None, meta={"site": ("B",), "k": ()}),
            record("d", start=0, stop=20),
        ]
    )
    return store


@pytest.mark.parametrize(
    ("column", "ascending", "descending"),
    [
        (Column.STOP_TIME, "abdc", "cbda"),
        (Column.START_TIME, "dbca", "acbd"),
        (Column.RUNTIME, "abdc", "cdba"),
        (Column.RECORD_ID, "abcd", "dcba"),
    ],
)
def test_order_puts_the_absent_last_or_first_and_keeps_insertion_among_equals(
    four: RecordStore, column: Column, ascending: str, descending: str
) -> None:
    assert "".join(ids(four, order=Order(column))) == ascending
    assert "".join(ids(four, order=Order(column, descending=True))) == descending
    assert "".join(ids(four, order=Order(column), limit=2)) == ascending[:2]


def test_the_default_order_is_by_stop_time(four: RecordStore) -> None:
    assert ids(four) == ["a", "b", "d", "c"]


def test_record_ids_are_ordered_by_their_bytes(store: RecordStore) -> None:
    names = ["a", "B", "ä", "Z", "\U0001f600", "\uffee", "a b", "a-b", "ab"]
    store.put([record(name) for name in names])
    assert ids(store, order=Order(Column.RECORD_ID)) == sorted(names, key=str.encode)


@pytest.mark.parametrize(("limit", "found"), [(0, 0), (3, 3), (4, 4), (10**30, 4)])
def test_at_most_limit_records_come(four: RecordStore, limit: int, found: int) -> None:
    assert len(ids(four, limit=limit)) == found


@pytest.mark.parametrize(
    ("op", "value", "found"),
    [
        (Op.GT, 10_500_000, "bd"),
        (Op.GTE, 10_500_000, "abd"),
        (Op.LT, 20_000_000, "a"),
        (Op.LTE, 20_000_000, "abd"),
        (Op.EQUALS, 20_000_000, "bd"),
        (Op.GT, 2**63, ""),
        (Op.EQUALS, 2**64, ""),
        (Op.LT, 2**64, "abd"),
        (Op.GTE, -(2**64), "abd"),
        (Op.LTE, -(2**64), ""),
    ],
)
def test_stop_times_are_compared_and_running_records_never_match(
    four: RecordStore, op: Op, value: int, found: str
) -> None:
    assert "".join(ids(four, stop_time=(Bound(op, value),))) == found


def test_both_bounds_of_one_side_count(four: RecordStore) -> None:
    assert ids(four, stop_time=(Bound(Op.GTE, 0), Bound(Op.GT, 10_500_000))) == ["b", "d"]
    assert ids(four, start_time=(Bound(Op.GT, 0), Bound(Op.LTE, 2_000_000))) == ["b", "c"]


def test_runtimes_are_whole_seconds(four: RecordStore) -> None:
    assert ids(four, runtime=(Bound(Op.EQUALS, 7),)) == ["a"]
    assert ids(four, runtime=(Bound(Op.GTE, 19),)) == ["b", "d"]
    assert ids(four, runtime=(Bound(Op.LT, 2**64),)) == ["a", "b", "d"]


@pytest.mark.parametrize(
    ("key", "contains", "lacks", "found"),
    [
        ("site_id", ("A",), (), "ab"),
        ("site_id", ("B", "A"), (), "b"),
        ("site_id", ("A",), ("B",), "a"),
        ("site_id", (), ("B",), "a"),
        ("site_id", (), (), "ab"),
        ("site_id", ("C",), (), ""),
        ("site", (), ("A",), "c"),
        ("group", ("g",), ("h",), "a"),
        ("user", ("u",), (), ""),
        ("k", ("2",), (), "ab"),
        ("k", ("1", "2"), (), "b"),
        ("k", ("2",), ("1",), "a"),
        ("k", (), ("1",), "ac"),
        ("k", (), (), "abc"),
        ("K", ("2",), (), ""),
    ],
)
def test_meta_holds_all_of_contains_and_none_of_lacks(
    four: RecordStore, key: str, contains: tuple[str, ...], lacks: tuple[str, ...], found: str
) -> None:
    assert "".join(ids(four, meta=(MetaCondition(key, contains, lacks),))) == found


def test_all_meta_conditions_hold_together(four: RecordStore) -> None:
    assert ids(four, meta=(MetaCondition("site_id", ("A",)), MetaCondition("k", ("1",)))) == ["b"]
    assert ids(four, meta=(MetaCondition("site_id", ("A",)), MetaCondition("site_id", ("B",)))) == ["b"]
    assert ids(four, meta=(MetaCondition("site_id", ("A",)), MetaCondition("group", ("g",)))) == ["a"]


def test_a_facet_with_many_values_answers_too(store: RecordStore) -> None:
    store.put([record(f"r{number}", stop=number, meta={"user_id": ("all", f"u{number}")}) for number in range(200)])
    assert len(ids(store, meta=(MetaCondition("user_id", ("all",)),))) == 200
    assert len(ids(store, meta=(MetaCondition("user_id", ("all",), ("u7",)),))) == 199
    assert ids(store, meta=(MetaCondition("user_id", ("u7", "all")),)) == ["r7"]
    assert len(ids(store, Scope(((Rule("user_id", ("all", "u7")),),)))) == 200


def test_every_component_is_looked_at(store: RecordStore) -> None:
    store.put(
        [
            record("first", components=(("cpu", 4), ("mem", 7))),
            record("second", components=(("mem", 3), ("cpu", AMOUNT_MAX), ("cpu", 2))),
            record("none"),
        ]
    )

    def found(name: str, *bounds: Bound) -> list[str]:
        return ids(store, components=(ComponentCondition(name, bounds),))

    assert found("cpu") == ["first", "second"]
    assert found("cpu", Bound(Op.EQUALS, 2)) == ["second"]
    assert found("cpu", Bound(Op.GT, 2), Bound(Op.LTE, 4)) == ["first"]
    assert found("cpu", Bound(Op.GT, 4), Bound(Op.LT, AMOUNT_MAX)) == []
    assert found("cpu", Bound(Op.GTE, AMOUNT_MAX)) == ["second"]
    assert found("cpu", Bound(Op.GT, 2**70)) == []
    assert found("cpu", Bound(Op.LT, 2**70)) == ["first", "second"]
    assert found("gpu", Bound(Op.GTE, 0)) == []
    both = (ComponentCondition("cpu", (Bound(Op.EQUALS, 4),)), ComponentCondition("mem", (Bound(Op.EQUALS, 7),)))
    assert ids(store, components=both) == ["first"]


def test_a_scope_shows_what_one_of_its_rules_allows_and_nothing_else(four: RecordStore) -> None:
    assert ids(four, Scope(())) == []
    assert ids(four, Scope(((Rule("site_id", ("B",)),),))) == ["b"]
    assert ids(four, Scope(((Rule("site_id", ("B", "A")),), (Rule("site", ("B",)),)))) == ["a", "b", "c"]
    assert ids(four, Scope(((Rule("k", ("1", "9")),),))) == ["b"]
    assert ids(four, Scope(((Rule("k", ()),),))) == []
    assert ids(four, Scope(((Rule("site_id", ()),),))) == []


def test_every_rule_of_a_group_must_hold(four: RecordStore) -> None:
    for rules in [(Rule("site_id", ("A", "B")), Rule("k", ("1",))), (Rule("k", ("1",)), Rule("site_id", ("A", "B")))]:
        assert ids(four, Scope((rules,))) == ["b"]
        assert ids(four, Scope((rules, (Rule("site", ("B",)),)))) == ["b", "c"]
    assert ids(four, Scope(((Rule("site_id", ("A",)), Rule("k", ("9",))),))) == []


def test_conditions_never_widen_a_scope(four: RecordStore) -> None:
    scope = Scope(((Rule("site_id", ("B",)),), (Rule("k", ("1",)),)))
    assert ids(four, scope, meta=(MetaCondition("site_id", ("A",)),)) == ["b"]
    assert ids(four, scope, record_id="a") == []
    assert four.one("a", scope) is None
    assert four.one("b", scope) is not None
    assert four.one("b", Scope(())) is None


def test_records_are_counted_in_all_and_by_facet(four: RecordStore) -> None:
    assert four.counts() == {"": 4}
    assert four.counts("site") == {"A": 2, "B": 2}
    assert four.counts("group") == {"g": 1}
    assert four.counts("user") == {}
    with pytest.raises(KeyError):
        four.counts("planet")


def test_a_value_under_both_keys_of_a_facet_counts_once(store: RecordStore) -> None:
    store.put([record("a", meta={"site": ("A",), "site_id": ("A", "A")})])
    assert store.counts("site") == {"A": 1}


def test_a_long_answer_comes_in_chunks_of_whole_lines(store: RecordStore) -> None:
    count = 2000
    store.put([record(f"{number:05}", stop=number, meta={"k": ("v" * 300,)}) for number in range(count)])
    chunks = list(store.stream(Question(ALL)))
    assert len(chunks) > 3
    assert all(chunk.endswith(b"\n") and len(chunk) < CHUNK_BYTES * 2 for chunk in chunks)
    names = [decoded(line)["record_id"] for line in b"".join(chunks).splitlines()]
    assert names == [f"{number:05}" for number in range(count)]


def test_an_answer_does_not_see_what_is_stored_after_it_began(store: RecordStore) -> None:
    store.put([record(f"{number:05}", stop=number, meta={"k": ("v" * 300,)}) for number in range(2000)])
    answer = store.stream(Question(ALL))
    first = next(answer)
    store.put([record("late", stop=5000)])
    store.stop([RecordStop("01999", second(9000))])
    rest = b"".join([first, *answer])
    assert rest.count(b"\n") == 2000
    assert b'"stop_time":"1970-01-01T00:33:19Z"' in rest.splitlines()[-1]
    assert len(ids(store)) == 2001


def test_answers_may_be_left_early_any_number_of_times(store: RecordStore) -> None:
    store.put([record(f"{number:05}", stop=number, meta={"k": ("v" * 300,)}) for number in range(2000)])
    for start in range(60):
        answer = store.stream(Question(ALL))
        if start % 2:
            next(answer)
        answer.close()  # type: ignore[attr-defined]
        assert list(answer) == []
    assert len(ids(store)) == 2000


def test_an_answer_that_is_forgotten_gives_its_connection_back(store: RecordStore) -> None:
    store.put([record("a")])
    for _ in range(60):
        store.stream(Question(ALL))
    assert ids(store) == ["a"]


def test_many_open_answers_keep_neither_a_write_nor_a_short_question_waiting(store: RecordStore) -> None:
    store.put([record(f"{number:05}", stop=number, meta={"k": ("v" * 300,)}) for number in range(1000)])
    answers = []
    with pytest.raises(StoreUnavailable, match="in use"):
        for _ in range(100):
            answers.append(store.stream(Question(ALL)))
    assert store.put([record("late")]) == [Stored.NEW]
    assert store.one("late", ALL) is not None
    assert store.counts() == {"": 1001}
    store.ping()
    assert len(answers) >= 10
    for answer in answers:
        assert b"".join(answer).count(b"\n") == 1000


def test_threads_that_put_the_same_records_make_each_once(store: RecordStore) -> None:
    batches = [[record(f"r{number}", meta={"user": (f"u{number}",)}) for number in range(50)] for _ in range(4)]
    batches[1].reverse()
    batches[3].reverse()
    barrier = threading.Barrier(4)

    def put(batch: list[Record]) -> list[Stored]:
        barrier.wait()
        return store.put(batch)

    with ThreadPoolExecutor(4) as threads:
        answers = [answer for answers in threads.map(put, batches) for answer in answers]
    assert answers.count(Stored.NEW) == 50
    assert answers.count(Stored.SAME) == 150
    assert store.counts("user") == {f"u{number}": 1 for number in range(50)}


def test_threads_that_stop_the_same_records_all_succeed(store: RecordStore) -> None:
    store.put([record(f"r{number}", stop=None) for number in range(20)])
    forward = [RecordStop(f"r{number}", second(number)) for number in range(20)]
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(store.stop, [forward, forward[::-1], forward, forward[::-1]]))
    assert answers == [[Stopped.DONE] * 20] * 4
    assert len(ids(store, stop_time=(Bound(Op.GTE, 0),))) == 20


def test_dead_letters_come_newest_first(store: RecordStore) -> None:
    store.bury([_letter("one"), _letter("two")])
    store.bury([_letter("three", reason="NUL \0 and half \ud800", body=b"\x00\xff{")])
    letters = store.letters(2)
    assert [letter.origin for letter in letters] == ["three", "two"]
    assert letters[0].reason == "NUL \ufffd and half ?"
    assert letters[0].body == b"\x00\xff{"
    assert letters[1] == _letter("two", number=letters[1].number)
    assert [letter.origin for letter in store.letters(10)] == ["three", "two", "one"]
    assert store.letters(0) == []


def _letter(origin: str, *, reason: str = "why", body: bytes = b"{}", number: int | None = None) -> DeadLetter:
    return DeadLetter(origin, reason, body, second(1.000001), len(body), number)


def test_a_store_answers_a_ping(store: RecordStore) -> None:
    store.ping()


def test_a_closed_store_is_unavailable(store: RecordStore) -> None:
    store.close()
    for ask in (store.ping, store.counts, lambda: store.put([record()]), lambda: store.stream(Question(ALL))):
        with pytest.raises(StoreUnavailable):
            ask()
    store.close()


def test_the_store_keeps_its_contract(store: RecordStore) -> None:
    assert isinstance(store, RecordStore)
