"""CSV that spreadsheets open."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from msgspec import Struct

from jobmeter.wire.spreadsheet import csv_of, csv_of_values, harmless


class Point(Struct):
    at: str
    means: dict[str, float]
    seen: list[str]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@sum", "\tx", "\rx", "\nx"])
def test_what_would_be_a_formula_is_text(text: str) -> None:
    assert harmless(text) == f"'{text}"
    assert csv_of(["name", text], [[text, -1]]).decode().count("'") == 2


def test_numbers_keep_their_digits_and_their_sign() -> None:
    assert csv_of(["a", "b", "c"], [[-5, Decimal(10) ** 30, None]]) == b"a,b,c\r\n-5,1%s,\r\n" % (b"0" * 30)


def test_every_field_that_some_value_has_is_a_column() -> None:
    points = [Point("monday", {"idle": 1.5}, ["n1"]), Point("=x", {"running": 2}, [])]
    assert csv_of_values(map(msgspec.to_builtins, points)).decode().splitlines() == [
        "at,means.idle,seen,means.running",
        'monday,1.5,"[""n1""]",',
        "'=x,,[],2",
    ]


def test_a_name_cannot_become_a_formula_by_being_a_head() -> None:
    assert csv_of_values([{"=cmd()": 1}]).startswith(b"'=cmd()")
