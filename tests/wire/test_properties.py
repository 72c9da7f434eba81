"""AUDITOR's JSON, for any input: encoding loses nothing, and decoding ends in a record or in a reason."""

from __future__ import annotations

import json
from datetime import UTC
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from jobmeter.model.record import AMOUNT_MAX, Component, Record, RecordStop, Score, record_fault
from jobmeter.wire.auditor import BadRecord, decode_record, decode_records, decode_stop, encode_record

names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20).filter(
    lambda text: not text.isspace()
)
scores = st.builds(Score, names, st.floats(0, allow_nan=False, allow_infinity=False) | st.just(-0.0))
components = st.builds(Component, names, st.integers(0, AMOUNT_MAX), st.lists(scores, max_size=3).map(tuple))
metas = st.none() | st.dictionaries(names, st.lists(names, max_size=3).map(tuple), max_size=4)
moments = st.datetimes(timezones=st.just(UTC))


@st.composite
def records(draw: st.DrawFn) -> Record:
    start, stop = sorted([draw(moments), draw(moments)])
    return Record(
        draw(names),
        tuple(draw(st.lists(components, max_size=3))),
        start,
        meta=draw(metas),
        stop_time=draw(st.sampled_from([stop, None])),
    )


@given(records())
def test_an_encoded_record_decodes_to_itself(record: Record) -> None:
    raw = encode_record(record)
    assert decode_record(raw) == record
    assert encode_record(decode_record(raw)) == raw
    assert decode_records(b"[" + raw + b"," + raw + b"]") == [record, record]


@given(records())
def test_both_passes_read_the_same_record(record: Record) -> None:
    raw = encode_record(record)
    slow = raw.replace(b'{"record_id"', b'{ "\\u0072ecord_id"', 1)
    assert decode_record(slow) == record


@given(records())
def test_any_json_library_reads_the_encoded_record(record: Record) -> None:
    value = json.loads(encode_record(record))
    assert list(value) == ["record_id", "meta", "components", "start_time", "stop_time", "runtime"]
    assert value["record_id"] == record.record_id
    assert value["runtime"] == record.runtime_seconds
    assert [item["amount"] for item in value["components"]] == [item.amount for item in record.components]


def assert_record_or_fault(raw: bytes) -> None:
    try:
        found = decode_record(raw)
    except BadRecord as fault:
        assert fault.reason
    else:
        assert record_fault(found) is None
        assert decode_record(encode_record(found)) == found
    try:
        assert isinstance(decode_stop(raw), RecordStop)
    except BadRecord as fault:
        assert fault.reason
    try:
        assert all(isinstance(item, Record | BadRecord) for item in decode_records(raw))
    except BadRecord as fault:
        assert fault.reason


@given(st.binary(max_size=300))
def test_any_bytes_are_a_record_or_a_fault(raw: bytes) -> None:
    assert_record_or_fault(raw)


numbers = st.integers() | st.floats() | st.sampled_from([2**63, 2**64, 10**400, 1e308])
texts = st.text(st.characters(exclude_categories=()), max_size=6) | st.sampled_from(
    ["2024-01-01T00:00:00Z", "2024-1-1 0:0:0.1234567 UTC", "0001-01-01T00:00:00+01:00", "e\u0301" * 257, "a" * 300]
)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def odd_bodies(draw: st.DrawFn) -> bytes:
    """A body of the right shape, with odd values in some places, and at times cut or spoilt as bytes."""
    score = {"name": draw(st.just("s") | values), "value": draw(st.just(1) | values)}
    component = {"name": draw(st.just("c") | values), "amount": draw(st.just(1) | values), "scores": [score]}
    record: dict[str, Any] = {
        "record_id": draw(st.just("r") | values),
        "meta": draw(st.just({"a": ["x"]}) | st.dictionaries(texts, st.lists(texts, max_size=2), max_size=2) | values),
        "components": draw(st.just([component]) | values),
        "start_time": draw(st.just("2024-01-01T00:00:00Z") | texts | values),
        "stop_time": draw(st.just("2024-01-01T00:00:00Z") | texts | values),
    }
    if draw(st.booleans()):
        del record[draw(st.sampled_from(sorted(record)))]
    raw = json.dumps([record, record] if draw(st.booleans()) else record, ensure_ascii=draw(st.booleans()))
    encoded = raw.encode(errors="surrogatepass")
    if draw(st.booleans()):
        place = draw(st.integers(0, len(encoded)))
        encoded = encoded[:place] + draw(st.binary(max_size=2)) + encoded[place + draw(st.integers(0, 3)) :]
    return encoded


@given(odd_bodies())
@settings(max_examples=300)
def test_any_odd_body_is_a_record_or_a_fault(raw: bytes) -> None:
    assert_record_or_fault(raw)
