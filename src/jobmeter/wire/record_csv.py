"""Records as CSV, for spreadsheets and data frames. What came from jobs is never trusted to be harmless."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from jobmeter.wire.spreadsheet import harmless

CSV_COLUMNS = (
    "record_id",
    "meta.site_id",
    "meta.user_id",
    "meta.group_id",
    "start_time",
    "stop_time",
    "runtime",
    "components",
    "meta",
)
CSV_LINE_END = "\r\n"
FOUND = "found"
"""The name that asks for a column for every meta key, component and score of the first records."""
FOUND_MAX = 500
"""At most so many columns of each kind are made of what was found; the whole stands in `meta` and `components`."""

_FIELDS = ("record_id", "start_time", "stop_time", "runtime")
_WHOLE = ("components", "meta")
_KEYED = ("meta", "component", "score")


class Output(Protocol):
    """Where text is written to."""

    def write(self, text: str, /) -> object:
        """Write `text`."""


def write_csv(
    records: Iterable[Mapping[str, Any]], columns: Sequence[str], output: Output, *, exact: bool = False
) -> None:
    """Records as CSV (RFC 4180) with a row of heads.

    A column is a field of a record, `meta.KEY` (several values stand with `;` between), `component.NAME` (its amount),
    `score.COMPONENT.NAME` (its value), `meta` or `components` (as JSON). Spreadsheets take a cell that begins with one
    of `= + - @`, a tab or a line end for a formula, and users choose names of jobs; such a cell gets an apostrophe
    before it, unless `exact`.
    """
    write_rows([dict(zip(columns, columns, strict=True))], columns, output, exact=exact, cell=_head)
    write_rows(records, columns, output, exact=exact)


def _head(heads: Mapping[str, Any], column: str) -> str:
    return str(heads[column])


def write_rows(
    records: Iterable[Mapping[str, Any]],
    columns: Sequence[str],
    output: Output,
    *,
    exact: bool = False,
    cell: Any = None,
) -> None:
    """The rows alone."""
    cell = cell or _cell
    writer = csv.writer(output, lineterminator=CSV_LINE_END)
    for record in records:
        cells = (_encodable(cell(record, column)) for column in columns)
        writer.writerow(cells if exact else map(harmless, cells))


def known_column(name: str) -> bool:
    """Whether `name` is a column that `write_csv` can write."""
    kind, dot, key = name.partition(".")
    return bool(key) if kind in _KEYED and dot else name in (*_FIELDS, *_WHOLE)


def found_columns(records: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """The fields, a column for every meta key, component and score of `records`, and the whole of meta and components.

    Nothing is lost by a key that only later records have: `meta` and `components` hold all.
    """
    meta: dict[str, None] = {}
    components: dict[str, None] = {}
    scores: dict[str, None] = {}
    for record in records:
        meta |= dict.fromkeys(f"meta.{key}" for key in record.get("meta") or {})
        for component in record.get("components") or []:
            components[f"component.{component['name']}"] = None
            scores |= dict.fromkeys(f"score.{component['name']}.{score['name']}" for score in component["scores"])
    found = [name for names in (meta, components, scores) for name in sorted(names)[:FOUND_MAX]]
    return (*_FIELDS, *found, *_WHOLE)


def _cell(record: Mapping[str, Any], column: str) -> str:
    kind, _, key = column.partition(".")
    if key and kind == "meta":
        return ";".join(map(str, (record.get("meta") or {}).get(key) or []))
    components = record.get("components") or []
    if key and kind == "component":
        return ";".join(str(component.get("amount")) for component in components if component.get("name") == key)
    if key and kind == "score":
        return ";".join(
            str(score.get("value"))
            for component in components
            for score in component.get("scores") or []
            if f"{component.get('name')}.{score.get('name')}" == key
        )
    value = record.get(column)
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _encodable(text: str) -> str:
    # JSON can spell half a surrogate pair, UTF-8 cannot.
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
