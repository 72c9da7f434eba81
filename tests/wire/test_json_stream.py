from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobmeter.wire.json_stream import BadStream, objects

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
records = st.lists(st.dictionaries(st.text(), anything, max_size=4), max_size=6)


def pieces(body: bytes, size: int) -> list[bytes]:
    return [body[start : start + size] for start in range(0, len(body), size)]


@given(records, st.sampled_from(["", "\n", "\r\n", " \n\n"]), st.integers(1, 50), st.booleans())
def test_objects_come_out_as_they_went_in_however_they_are_cut(
    values: list[dict[str, Any]], between: str, size: int, ascii_only: bool
) -> None:
    texts = [json.dumps(value, ensure_ascii=ascii_only) for value in values]
    try:
        body = between.join(texts).encode()
    except UnicodeEncodeError:
        return
    assert list(objects(pieces(body, size))) == list(zip(texts, values, strict=True))


@pytest.mark.parametrize(
    "body",
    [b'{"a":1}{"b":', b'{"a":1}\n{"b":1', b"[]", b'{"a":1},{"b":1}', b"null", b'{"a":\xff}', b'{"a":"\xc3', b"{'a':1}"],
)
@pytest.mark.parametrize("size", [1, 1000])
def test_what_is_no_sequence_of_objects_or_ends_within_one_is_told(body: bytes, size: int) -> None:
    with pytest.raises(BadStream):
        list(objects(pieces(body, size)))


def test_objects_before_the_fault_are_given() -> None:
    found = []
    with pytest.raises(BadStream, match="object 3"):
        for text, _ in objects([b'{"a":1}{"b":2}{"c":']):
            found.append(text)
    assert found == ['{"a":1}', '{"b":2}']


def test_an_object_that_never_ends_is_given_up() -> None:
    with pytest.raises(BadStream, match="malformed or has more"):
        list(objects([b'{"a":"', *[b"x" * 2**20] * 9]))


def test_an_object_nested_without_end_is_told() -> None:
    with pytest.raises(BadStream):
        list(objects([b'{"a":' * 200_000]))
