"""CSV that spreadsheets open. What came from jobs and their users is never trusted to be harmless there."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

TYPE = b"text/csv; charset=utf-8"
FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r", "\n")

Cell = str | int | float | Decimal | None


def harmless(cell: str) -> str:
    """`cell` such that no spreadsheet takes it for a formula: an apostrophe stands before what would be one."""
    return f"'{cell}" if cell.startswith(FORMULA_SIGNS) else cell


def csv_of(heads: Sequence[str], rows: Iterable[Sequence[Cell]]) -> bytes:
    """Rows with heads. Texts are made harmless, numbers keep all their digits; None is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(map(harmless, heads))
    for row in rows:
        writer.writerow(map(_written, row))
    return text.getvalue().encode()


def csv_of_values(values: Iterable[Mapping[str, Any]]) -> bytes:
    """A row for each mapping of plain values, as JSON has it; what is within a field has a column `FIELD.NAME`.

    A list is a cell in JSON. The columns are those that some row has, in the order in which they come up.
    """
    rows = [dict(_cells("", value)) for value in values]
    heads = list(dict.fromkeys(name for row in rows for name in row))
    return csv_of(heads, ([row.get(name) for name in heads] for row in rows))


def _written(cell: Cell) -> Cell:
    match cell:
        case None:
            return ""
        case str():
            return harmless(cell)
        case Decimal():
            return format(cell, "f")
        case _:
            return cell


def _cells(name: str, value: Any) -> Iterator[tuple[str, Cell]]:
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _cells(f"{name}.{key}" if name else str(key), each)
    elif isinstance(value, list):
        yield name, json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    else:
        yield name, value
