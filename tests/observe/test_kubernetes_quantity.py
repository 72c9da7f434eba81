from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobmeter.observe.kubernetes.quantity import amount, quantity, whole
from jobmeter.observe.shape.values import Unreadable


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("100m", Fraction(1, 10)),
        ("1Gi", 2**30),
        ("500Mi", 500 * 2**20),
        ("1e3", 1000),
        ("1E3", 1000),
        ("2E", 2 * 10**18),
        ("2Ei", 2 * 2**60),
        ("1.5", Fraction(3, 2)),
        (".5Ki", 512),
        ("5.", 5),
        ("128974848", 128974848),
        ("129e6", 129_000_000),
        ("129M", 129_000_000),
        ("123Mi", 128974848),
        ("0.1", Fraction(1, 10)),
        ("100n", Fraction(1, 10**7)),
        ("3u", Fraction(3, 10**6)),
        ("12e-1", Fraction(6, 5)),
        ("+7k", 7000),
        ("-1", -1),
        ("1P", 10**15),
        ("1Ti", 2**40),
    ],
)
def test_a_quantity_is_read_exactly(text: str, value: Fraction | int) -> None:
    assert quantity(text) == value


@pytest.mark.parametrize(
    "text", ["", "m", "k", "5Mii", "6⁂", "1 Gi", "1K", "1ki", "1e", "1e+", "0x10", "1,5", "٣", "1e999", "9" * 65, "."]
)
def test_what_is_no_quantity_is_unreadable(text: str) -> None:
    with pytest.raises(Unreadable):
        quantity(text)


def test_a_part_of_a_unit_counts_as_one_as_for_kubernetes() -> None:
    assert amount("cpu", quantity("100u")) == 1
    assert amount("cpu", quantity("1500m")) == 1500
    assert amount("memory", quantity("100m")) == 1
    assert amount("nvidia.com/gpu", quantity("2")) == 2


@pytest.mark.parametrize("text", ["-1m", "8Ei", "9.3E"])
def test_what_no_component_can_hold_is_unreadable(text: str) -> None:
    with pytest.raises(Unreadable):
        whole(quantity(text))


@given(st.text(max_size=80) | st.from_regex(r"[0-9.]{1,12}[a-zA-Z0-9+-]{0,5}", fullmatch=True))
def test_any_text_is_a_quantity_or_unreadable(text: str) -> None:
    try:
        quantity(text)
    except Unreadable:
        return


@given(st.decimals(min_value=0, max_value=10**15, places=6))
def test_decimals_lose_nothing(value: Decimal) -> None:
    assert quantity(f"{value:f}") == Fraction(value)
