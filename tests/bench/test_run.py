from __future__ import annotations

import pytest
from bench.run import Row, aim_of, parse


@pytest.mark.parametrize(
    ("line", "work", "value", "unit", "rest"),
    [
        (
            "  ingest, batches of 1000, durable  68,307 records/s",
            "ingest, batches of 1000, durable",
            68307,
            "records/s",
            "",
        ),
        ("  one by id                             0.26 ms", "one by id", 0.26, "ms", ""),
        ("  pump      86,024 records/s  0.63 of plain", "pump", 86024, "records/s", "0.63 of plain"),
        ("single: 9,100 records/s", "single", 9100, "records/s", ""),
    ],
)
def test_a_line_with_a_figure_is_a_row(line: str, work: str, value: float, unit: str, rest: str) -> None:
    assert parse(line + "\n", "store", "sqlite") == Row("store", "sqlite", work, value, unit, rest)


@pytest.mark.parametrize("line", ["", "SQLite, 20,000 records", "The limit, 20,000 bodies in a table"])
def test_a_line_without_a_figure_is_no_row(line: str) -> None:
    assert parse(line, "store", "sqlite") is None


def test_aims_depend_on_the_database_and_have_a_direction() -> None:
    ingest = Row("http", "sqlite", "bulk, 1,000 records a request", 50_000, "records/s", "")
    assert aim_of(ingest) == (80_000, False)
    assert aim_of(ingest._replace(database="postgresql")) == (40_000, True)
    assert aim_of(Row("store", "sqlite", "one by id", 0.3, "ms", "")) == (5, True)
    assert aim_of(Row("store", "sqlite", "mean body", 564, "bytes", "")) is None
