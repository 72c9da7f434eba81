from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobmeter.report.visible import visible
from jobmeter.run.records.text import details, table, table_row
from jobmeter.wire.record_csv import CSV_COLUMNS, known_column, write_csv
from jobmeter.wire.spreadsheet import harmless

RECORD: dict[str, Any] = {
    "record_id": "slurm-1",
    "meta": {"site_id": ["north"], "user_id": ["ada"], "group_id": ["a", "b"], "job": ['x,"y"\nz']},
    "components": [
        {"name": "Cores", "amount": 8, "scores": [{"name": "HS", "value": 1.5}]},
        {"name": "Memory", "amount": 16000, "scores": []},
    ],
    "start_time": "2024-03-01T10:00:00.5Z",
    "stop_time": None,
    "runtime": None,
}


def as_csv(record: dict[str, Any], *columns: str, exact: bool = False) -> list[list[str]]:
    output = io.StringIO()
    write_csv([record], columns, output, exact=exact)
    return list(csv.reader(io.StringIO(output.getvalue(), newline="")))


@pytest.mark.parametrize(
    "hostile", ["\x1b[2J", "\x9b31m", "a\nb", "a\rb", "\x07", "\u202e", "\u2028", "\x7f", "\ud800"]
)
def test_nothing_that_drives_a_terminal_is_printed(hostile: str) -> None:
    shown = visible(f"job {hostile} name")
    assert shown.isprintable()
    assert "job " in shown


@given(st.text())
def test_visible_text_is_printable_and_plain_text_is_unchanged(text: str) -> None:
    assert visible(text).isprintable()
    assert visible(text) == text or not text.isprintable()


def test_columns_are_aligned_also_for_wide_and_combining_characters() -> None:
    lines = list(table(("A", "B"), [("x", "1"), ("\u4e2d\u6587", "2"), ("e\u0301\u0301", "3"), ("long cell", "4")]))
    assert lines == [
        "A          B",
        "x          1",
        "\u4e2d\u6587       2",
        "e\\u0301\\u0301          3".replace("\\u0301", "\u0301"),
        "long cell  4",
    ]


def test_a_table_begins_before_its_last_row_is_there() -> None:
    def endless() -> Any:
        for number in range(10_000):
            yield (str(number), "x")
        raise AssertionError("read to the end first")

    lines = table(("A", "B"), endless())
    assert [next(lines) for _ in range(3)] == ["A    B", "0    x", "1    x"]


def test_a_row_shows_what_a_record_has_and_a_dash_for_what_it_lacks() -> None:
    assert table_row(RECORD) == (
        "slurm-1", "north", "ada", "a,b", "2024-03-01 10:00:00", "-", "-", "Cores=8 Memory=16000"
    )  # fmt: skip
    assert table_row({"record_id": "x", "meta": None})[1:] == ("-",) * 6 + ("",)


def test_details_tell_everything_on_lines_of_their_own() -> None:
    lines = list(details(RECORD))
    assert 'meta        job = x,"y"\\nz' in lines
    assert "component   Cores = 8  HS 1.5" in lines
    assert all(line.isprintable() for line in lines)


def test_csv_quotes_what_needs_it() -> None:
    heads, cells = as_csv(RECORD, "record_id", "meta.job", "meta.group_id", "component.Memory", "runtime", "meta.none")
    assert heads == ["record_id", "meta.job", "meta.group_id", "component.Memory", "runtime", "meta.none"]
    assert cells == ["slurm-1", 'x,"y"\nz', "a;b", "16000", "", ""]


def test_the_default_columns_hold_the_whole_record() -> None:
    heads, cells = as_csv(RECORD, *CSV_COLUMNS)
    row = dict(zip(heads, cells, strict=True))
    assert row["components"].startswith('[{"name":"Cores","amount":8,"scores":[{"name":"HS","value":1.5}]}')
    assert row["meta"].startswith('{"site_id":["north"]')


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
def test_a_cell_that_a_spreadsheet_takes_for_a_formula_is_made_harmless(cell: str) -> None:
    record = {"record_id": cell, "meta": {"user_id": [cell]}}
    assert as_csv(record, "record_id", "meta.user_id")[1] == [f"'{cell}"] * 2
    assert as_csv(record, "record_id", exact=True)[1] == [cell]


def test_ordinary_cells_stay_as_they_are() -> None:
    assert [harmless(cell) for cell in ("slurm-1", "", "16000", "a=b")] == ["slurm-1", "", "16000", "a=b"]


def test_half_a_surrogate_pair_does_not_stop_an_export() -> None:
    assert as_csv({"record_id": "a\ud800"}, "record_id")[1] == ["a\\ud800"]


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("record_id", True),
        ("meta.a.b", True),
        ("component.Cores", True),
        ("meta", True),
        ("meta.", False),
        ("x", False),
    ],
)
def test_columns_are_known_by_name(name: str, known: bool) -> None:
    assert known_column(name) is known
