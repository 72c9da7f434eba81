"""AUDITOR's JSON: what its clients write is read, what its server refuses is refused, and answers look like its own."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from jobmeter.model.record import AMOUNT_MAX, Component, Record, RecordStop, Score
from jobmeter.wire.auditor import (
    BadRecord,
    decode_record,
    decode_records,
    decode_stop,
    encode_record,
    split_array,
)

CLIENT_BODY = (
    b'{"record_id":"r","meta":{"b":["x","y"],"a":[]},"components":[{"name":"cpu","amount":8,"scores":'
    b'[{"name":"hs","value":1.0},{"name":"hs2","value":1.05e-8}]}],'
    b'"start_time":"2021-12-06T16:29:43.500Z","stop_time":"2021-12-06T16:30:00Z"}'
)
CLIENT_RECORD = Record(
    "r",
    (Component("cpu", 8, (Score("hs", 1.0), Score("hs2", 1.05e-8))),),
    datetime(2021, 12, 6, 16, 29, 43, 500_000, tzinfo=UTC),
    meta={"b": ("x", "y"), "a": ()},
    stop_time=datetime(2021, 12, 6, 16, 30, tzinfo=UTC),
)
SERVER_ANSWER = (
    b'{"record_id":"record-1","meta":{"site_id":["site_A"],"nodes":["node1","node2"]},"components":[{"name":"comp-1",'
    b'"amount":10,"scores":[{"name":"HEPSPEC","value":1.0}]}],"start_time":"2021-12-06T16:29:43.079043Z",'
    b'"stop_time":null,"runtime":null}'
)


def body(**changes: Any) -> dict[str, Any]:
    record: dict[str, Any] = {
        "record_id": "r",
        "meta": None,
        "components": [],
        "start_time": "2024-01-01T00:00:00Z",
        "stop_time": None,
    }
    return {key: value for key, value in {**record, **changes}.items() if value is not ...}


def encoded(**changes: Any) -> bytes:
    return json.dumps(body(**changes)).encode()


def refused(raw: bytes) -> tuple[str, str]:
    with pytest.raises(BadRecord) as caught:
        decode_record(raw)
    return caught.value.field, caught.value.reason


def component(**changes: Any) -> dict[str, Any]:
    item = {"name": "cpu", "amount": 1, "scores": []}
    return {key: value for key, value in {**item, **changes}.items() if value is not ...}


def score(**changes: Any) -> list[dict[str, Any]]:
    item = {"name": "hs", "value": 1.0, **changes}
    return [component(scores=[{key: value for key, value in item.items() if value is not ...}])]


def test_what_the_real_client_sends_is_read() -> None:
    assert decode_record(CLIENT_BODY) == CLIENT_RECORD
    assert decode_records(b"[" + CLIENT_BODY + b"]") == [CLIENT_RECORD]


def test_an_answer_looks_as_auditor_writes_it() -> None:
    assert encode_record(decode_record(SERVER_ANSWER)) == SERVER_ANSWER


@pytest.mark.parametrize(
    ("written", "answered"),
    [
        ("2021-12-06T16:29:43Z", "2021-12-06T16:29:43Z"),
        ("2021-12-06T16:29:43.000Z", "2021-12-06T16:29:43Z"),
        ("2021-12-06T16:29:43.5Z", "2021-12-06T16:29:43.500Z"),
        ("2021-12-06T16:29:43.079Z", "2021-12-06T16:29:43.079Z"),
        ("2021-12-06T16:29:43.079043Z", "2021-12-06T16:29:43.079043Z"),
        ("2021-12-06T16:29:43.079040Z", "2021-12-06T16:29:43.079040Z"),
        ("2021-12-06T16:29:43.999999999Z", "2021-12-06T16:29:43.999999Z"),
        ("2021-12-06T16:29:43\\u002e9999999Z", "2021-12-06T16:29:43.999999Z"),
        ("2021-12-06T16:29:43.0000009Z", "2021-12-06T16:29:43Z"),
        ("2021-12-06T18:29:43+02:00", "2021-12-06T16:29:43Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_times_are_answered_in_utc_with_0_3_or_6_digits(written: str, answered: str) -> None:
    raw = encoded(start_time="TIME").replace(b"TIME", written.encode())
    assert json.loads(encode_record(decode_record(raw)))["start_time"] == answered


@pytest.mark.parametrize(
    ("start", "stop", "runtime"),
    [("00.000000", "05.999999", 5), ("00.5", "01.499999", 0), ("00.5", "01.5", 1), ("00", "00", 0)],
)
def test_the_runtime_is_whole_seconds_cut_off(start: str, stop: str, runtime: int) -> None:
    raw = encoded(start_time=f"2024-01-01T00:00:{start}Z", stop_time=f"2024-01-01T00:00:{stop}Z", runtime=99)
    assert json.loads(encode_record(decode_record(raw)))["runtime"] == runtime


def test_no_meta_and_empty_meta_are_different() -> None:
    assert decode_record(encoded(meta=...)).meta is None
    assert decode_record(encoded(meta=None)).meta is None
    assert decode_record(encoded(meta={})).meta == {}
    assert b'"meta":null,' in encode_record(decode_record(encoded(meta=...)))
    assert b'"meta":{},' in encode_record(decode_record(encoded(meta={})))


def test_lists_keep_their_order_and_their_repeats() -> None:
    values = ["b", "a", "b", "ü", "a"]
    names = ["z", "a", "z"]
    raw = encoded(meta={"k": values, "empty": []}, components=[component(name=name) for name in names])
    answer = json.loads(encode_record(decode_record(raw)))
    assert answer["meta"] == {"k": values, "empty": []}
    assert [item["name"] for item in answer["components"]] == names


@pytest.mark.parametrize("name", ["\\", "a\\", '"\\', "\\\\", '\\"', "\\n\n\\", "\\u005c", "{\\"])
def test_no_string_of_an_answer_ends_in_an_escaped_backslash(name: str) -> None:
    """The asynchronous client would take the closing quote for an escaped one and lose the rest of the list."""
    record = Record(name, (), datetime(2024, 1, 1, tzinfo=UTC), meta={name: (name,)})
    raw = encode_record(record)
    assert b"\\\\" not in raw
    assert decode_record(raw) == record


def test_unknown_keys_are_passed_over() -> None:
    raw = encoded(extra={"deep": [1, None]}, components=[component(unit="h")], runtime="not a number")
    assert decode_record(raw) == decode_record(encoded(components=[component()]))


def test_the_last_of_two_equal_keys_counts() -> None:
    assert decode_record(encoded().replace(b"{", b'{"record_id":"first",', 1)).record_id == "r"


@pytest.mark.parametrize("amount", [0, 1, AMOUNT_MAX])
def test_amounts_are_whole_numbers_below_2_to_the_63(amount: int) -> None:
    assert decode_record(encoded(components=[component(amount=amount)])).components[0].amount == amount


@pytest.mark.parametrize("written", [b"1.0", b"1e2", b"1.5", b"-1", b'"1"', b"null", b"true", b"9223372036854775808"])
def test_anything_else_is_no_amount(written: bytes) -> None:
    raw = encoded(components=[component(amount=777)]).replace(b"777", written)
    assert refused(raw) == ("components[0].amount", f"is not a whole number from 0 to {AMOUNT_MAX}")


@pytest.mark.parametrize("written", [b"0", b"-0.0", b"8", b"1.05e-8", b"1e300", b"12345678901234567890"])
def test_scores_are_numbers_from_zero(written: bytes) -> None:
    raw = encoded(components=score(value=777)).replace(b"777", written)
    assert decode_record(raw).components[0].scores[0].value == float(written)


def test_the_sign_of_zero_survives() -> None:
    raw = encoded(components=score(value=-0.0))
    assert b'"value":-0.0' in encode_record(decode_record(raw))


def test_a_score_of_many_digits_is_kept_exactly() -> None:
    raw = encoded(components=score(value=12.34567890123456))
    assert decode_record(raw).components[0].scores[0].value == 12.34567890123456


@pytest.mark.parametrize("written", [b"-1e-9", b"null", b'"1"', b"true", b"9" * 400])
def test_a_score_that_is_none_is_refused_by_its_field(written: bytes) -> None:
    assert refused(encoded(components=score(value=777)).replace(b"777", written))[0] == "components[0].scores[0].value"


@pytest.mark.parametrize("written", [b"NaN", b"Infinity", b"1e999", b"9" * 6000])
def test_numbers_that_json_or_a_double_cannot_hold_are_refused(written: bytes) -> None:
    field, reason = refused(encoded(components=score(value=777)).replace(b"777", written))
    assert field == ""
    assert "not valid JSON" in reason


@pytest.mark.parametrize(
    ("changes", "field", "reason"),
    [
        ({"record_id": ...}, "record_id", "is missing"),
        ({"record_id": 5}, "record_id", "is not a string"),
        ({"record_id": None}, "record_id", "is not a string"),
        ({"record_id": ""}, "record_id", "is blank"),
        ({"record_id": " \u2003"}, "record_id", "is blank"),
        ({"record_id": "a\0"}, "record_id", "contains the character NUL"),
        ({"record_id": "a" * 257}, "record_id", "has 257 characters, 256 are allowed"),
        ({"start_time": ...}, "start_time", "is missing"),
        ({"start_time": None}, "start_time", "is not a string"),
        ({"start_time": 1704067200}, "start_time", "is not a string"),
        ({"stop_time": 1704067200}, "stop_time", "is not a string"),
        ({"stop_time": "2023-12-31T23:59:59Z"}, "stop_time", "is before start_time"),
        ({"components": ...}, "components", "is missing"),
        ({"components": None}, "components", "is not a list"),
        ({"components": {}}, "components", "is not a list"),
        ({"components": [5]}, "components[0]", "is not an object"),
        ({"components": [["cpu", 1, []]]}, "components[0]", "is not an object"),
        ({"components": [component(name=...)]}, "components[0].name", "is missing"),
        ({"components": [component(name="")]}, "components[0].name", "is blank"),
        ({"components": [component(), component(amount=...)]}, "components[1].amount", "is missing"),
        ({"components": [component(scores=...)]}, "components[0].scores", "is missing"),
        ({"components": [component(scores=None)]}, "components[0].scores", "is not a list"),
        ({"components": [component(scores=["x"])]}, "components[0].scores[0]", "is not an object"),
        ({"components": score(name=...)}, "components[0].scores[0].name", "is missing"),
        ({"components": score(name="\n")}, "components[0].scores[0].name", "is blank"),
        ({"components": score(value=...)}, "components[0].scores[0].value", "is missing"),
        ({"meta": []}, "meta", "is neither an object nor null"),
        ({"meta": {"a": None}}, "meta['a']", "is not a list of strings"),
        ({"meta": {"a": "x"}}, "meta['a']", "is not a list of strings"),
        ({"meta": {"a": ["x", 5]}}, "meta['a'][1]", "is not a string"),
        ({"meta": {"a": ["x", ""]}}, "meta['a'][1]", "is blank"),
        ({"meta": {" ": []}}, "meta[' ']", "the key is blank"),
    ],
)
def test_a_fault_names_its_field_and_reason(changes: dict[str, Any], field: str, reason: str) -> None:
    assert refused(encoded(**changes)) == (field, reason)


def test_names_are_counted_in_graphemes() -> None:
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466"
    for name in ("e\u0301" * 256, family * 256):
        assert decode_record(encoded(record_id=name, meta={name: [name]})).record_id == name
    assert refused(encoded(record_id="e\u0301" * 257)) == ("record_id", "has 257 characters, 256 are allowed")


def test_the_field_of_a_fault_is_short_even_if_its_name_is_not() -> None:
    field, _ = refused(encoded(meta={"k" * 100_000: [5]}))
    assert len(field) < 100


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b"1",
        b"\xff",
        b"\xef\xbb\xbf{}",
        b'{"record_id":"\xff"}',
        b'{"record_id":"\\ud800"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        encoded() + b"x",
        encoded() + encoded(),
        encoded().replace(b"}", b',"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    ],
    ids=range(15),
)
def test_a_body_that_is_no_object_is_refused_as_a_whole(raw: bytes) -> None:
    assert refused(raw)[0] == ""


def test_the_stop_of_a_record_needs_no_start() -> None:
    raw = encoded(start_time=..., stop_time="2024-01-01T00:00:00.1234567+02:00")
    assert decode_stop(raw) == RecordStop("r", datetime(2023, 12, 31, 22, 0, 0, 123_456, tzinfo=UTC))
    assert decode_stop(encoded(start_time="2030-01-01T00:00:00Z", stop_time="2024-01-01T00:00:00Z")).record_id == "r"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({}, "stop_time"),
        ({"stop_time": ...}, "stop_time"),
        ({"stop_time": 5}, "stop_time"),
        ({"stop_time": "2024-01-01"}, "stop_time"),
        ({"stop_time": "2024-01-01T00:00:00Z", "record_id": ...}, "record_id"),
        ({"stop_time": "2024-01-01T00:00:00Z", "record_id": ""}, "record_id"),
        ({"stop_time": "2024-01-01T00:00:00Z", "components": ...}, "components"),
        ({"stop_time": "2024-01-01T00:00:00Z", "meta": {"a": "x"}}, "meta['a']"),
    ],
)
def test_a_stop_is_checked_as_a_whole_record(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(BadRecord) as caught:
        decode_stop(encoded(**changes))
    assert caught.value.field == field


def test_one_bad_element_spoils_no_other() -> None:
    bad = [
        encoded(record_id=""),
        b"5",
        b"null",
        encoded(components=score(value=777)).replace(b"777", b"1e999"),
        encoded(record_id="RAW").replace(b"RAW", b"\xff"),
        encoded(record_id="RAW").replace(b"RAW", b"\\ud800"),
        encoded(components=score(value=777)).replace(b"777", b"NaN"),
        encoded(record_id="RAW").replace(b"RAW", b"\n"),
    ]
    for some in (bad[:4], bad):
        found = decode_records(b"[" + b" , ".join([encoded(record_id="a"), *some, encoded(record_id="z")]) + b"]")
        assert [isinstance(item, Record) for item in found] == [True, *[False] * len(some), True]
        assert [item.record_id for item in found if isinstance(item, Record)] == ["a", "z"]


def test_elements_beyond_the_fast_path_are_records_too() -> None:
    fine = encoded(start_time="2024-01-01T00:00:00.9999999Z")
    relaxed = encoded(start_time="2024-1-1 1:2:3 UTC")
    assert decode_records(b"[" + fine + b"]") == [decode_record(fine)]
    found = decode_records(b"[" + b" , ".join([CLIENT_BODY, fine, relaxed]) + b"]")
    assert [item.start_time for item in found if isinstance(item, Record)] == [
        CLIENT_RECORD.start_time,
        datetime(2024, 1, 1, 0, 0, 0, 999_999, tzinfo=UTC),
        datetime(2024, 1, 1, 1, 2, 3, tzinfo=UTC),
    ]


def test_no_elements_are_a_list_too() -> None:
    assert decode_records(b" [ ] ") == []


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b"null",
        b"[1",
        b"[1,]",
        b"[] []",
        b"[NaN",
        b"[NaN,]",
        b"[NaN 1]",
        b"[NaN] 1",
        b"NaN",
        encoded(),
        b"[" * 100_000,
    ],
)
def test_a_bulk_body_is_a_json_array(raw: bytes) -> None:
    with pytest.raises(BadRecord) as caught:
        decode_records(raw)
    assert caught.value.field == ""


def test_an_array_is_split_into_its_elements_as_they_stand() -> None:
    assert split_array(b' [ {"a" : 1} , 1e999,"\xff" ] ') == [b'{"a" : 1}', b"1e999", b'"\xff"']


def test_a_record_in_any_zone_is_answered_in_utc() -> None:
    zone = timezone(timedelta(hours=5, minutes=30))
    record = Record("r", (), datetime(2024, 1, 1, 5, 30, tzinfo=zone))
    assert b'"start_time":"2024-01-01T00:00:00Z"' in encode_record(record)


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+02:00", "9999-12-31T23:59:59-02:00", "9999-12-31T23:59:60Z"])
def test_a_moment_outside_the_years_1_to_9999_is_refused(time: str) -> None:
    assert refused(encoded(start_time=time))[0] == "start_time"
