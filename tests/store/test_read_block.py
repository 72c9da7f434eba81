"""Blocks of records that are read for sums."""

from __future__ import annotations

import pytest
from msgspec import Struct

from jobmeter.store.read_block import Block


class _One(Struct):
    name: str
    amount: int


class _Body(Struct):
    components: tuple[_One, ...]


def _block(*names: str) -> Block:
    bodies = [_Body(tuple(_One(name, place) for place, name in enumerate(each))) for each in names]
    return Block([0] * len(bodies), [1] * len(bodies), bodies)


@pytest.mark.parametrize("names", [("ab", "ba", "b", ""), ("ab", "baac", "aa"), ("aba", "ab", "b", "aabba")])
def test_components_are_found_by_name_in_every_order_and_number(names: tuple[str, ...]) -> None:
    block = _block(*names)
    for name in "abx":
        found = [[one.amount for one in ones] for ones in block.components(name)]
        assert found == [[place for place, each in enumerate(text) if each == name] for text in names]


def test_what_is_not_kept_is_gone_from_all_that_is_read() -> None:
    block = _block("ab", "b", "a")
    assert [len(ones) for ones in block.components("a")] == [1, 0, 1]
    fewer = block.only([True, True, False])
    assert [len(ones) for ones in fewer.components("a")] == [1, 0]
    assert fewer.spans(None).values == [1, 1]
    assert block.only([True, True, True]) is block
