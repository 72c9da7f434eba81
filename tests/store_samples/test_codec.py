from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobmeter.model.series import Value
from jobmeter.store.samples.codec import FLOATING, NOTHING, WHOLE, Cells, decode, encode
from jobmeter.store.samples.fault import Damaged

WHOLES = st.integers(-(2**63), 2**63 - 1)
ANY = st.one_of(st.none(), WHOLES, st.floats(), st.integers(0, 100), st.decimals(0, 100, places=2).map(float))
MATRIX = st.integers(1, 6).flatmap(
    lambda columns: st.lists(st.lists(ANY, min_size=columns, max_size=columns), min_size=1, max_size=40)
)
BY_COLUMN = st.integers(1, 30).flatmap(
    lambda rows: st.lists(
        st.one_of(*(st.lists(kind, min_size=rows, max_size=rows) for kind in (WHOLES, st.floats(), st.integers(0, 9)))),
        min_size=1,
        max_size=5,
    )
)


def cells(matrix: list[list[Value]]) -> Cells:
    bits = np.zeros((len(matrix), len(matrix[0])), np.uint64)
    kinds = np.zeros(bits.shape, np.uint8)
    for row, values in enumerate(matrix):
        for place, value in enumerate(values):
            if isinstance(value, int):
                bits[row, place], kinds[row, place] = value % 2**64, WHOLE
            elif isinstance(value, float):
                bits[row, place], kinds[row, place] = struct.unpack("<Q", struct.pack("<d", value))[0], FLOATING
    return Cells(bits, kinds)


def assert_same(found: Cells, given: Cells) -> None:
    assert np.array_equal(found.kinds, given.kinds)
    assert np.array_equal(found.bits, given.bits)


@given(MATRIX)
def test_any_mixture_of_cells_comes_back_bit_by_bit(matrix: list[list[Value]]) -> None:
    one = cells(matrix)
    assert_same(decode(encode(one)), one)


@given(BY_COLUMN)
def test_columns_of_one_kind_come_back_bit_by_bit(columns: list[list[Value]]) -> None:
    one = cells([list(row) for row in zip(*columns, strict=True)])
    assert_same(decode(encode(one)), one)


@pytest.mark.parametrize(
    "values",
    [
        [0.0, -0.0, 0.0],
        [float("nan"), 1.0],
        [struct.unpack("<d", struct.pack("<Q", 0x7FF8000000000001))[0]],
        [float("inf"), float("-inf")],
        [5e-324, 1.7976931348623157e308],
        [2**63 - 1, -(2**63)],
        [0.1, 0.2, 0.30000000000000004],
        [1.25, 100.75, 3.0],
        [None, None],
        [None, 3, None],
        [3, 3.0, None],
    ],
)
def test_odd_values_come_back_bit_by_bit(values: list[Value]) -> None:
    one = cells([[value] for value in values])
    assert_same(decode(encode(one)), one)


def test_given_cells_are_left_as_they_are() -> None:
    one = cells([[1, 2.5], [None, 3.5]])
    before = Cells(one.bits.copy(), one.kinds.copy())
    encode(one)
    assert_same(one, before)


def test_a_regular_counter_in_pages_costs_next_to_nothing() -> None:
    block = encode(cells([[second * 10**9, 4096 * second, 12.5] for second in range(1000)]))
    assert len(zlib.compress(block)) < 100


def test_every_cut_of_a_block_is_told() -> None:
    block = encode(cells([[1, 2.5, None], [7, 2.75, 3], [9, 1e300, None]]))
    for size in range(len(block)):
        with pytest.raises(Damaged):
            decode(block[:size])
    with pytest.raises(Damaged):
        decode(block + b"x")


def test_a_block_of_absurd_size_is_told() -> None:
    with pytest.raises(Damaged, match="4294967295 rows"):
        decode(struct.pack("<IH", 2**32 - 1, 65535) + bytes(10))


def test_nothing_is_its_own_kind() -> None:
    assert decode(encode(cells([[None]]))).kinds[0, 0] == NOTHING
