"""Records as text for people. What came from jobs is never trusted to be harmless."""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from jobmeter.report.visible import visible

SAMPLE_ROWS = 200
"""So many rows decide how wide the columns of a table are; later ones may stick out."""

TABLE_HEADS = ("RECORD", "SITE", "USER", "GROUP", "START", "STOP", "SECONDS", "COMPONENTS")

_CELL_MAX_CHARACTERS = 40


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Lines of aligned columns, cells made visible; the last column is not padded."""
    source = ([visible(cell) for cell in row] for row in rows)
    sample = list(itertools.islice(source, SAMPLE_ROWS))
    widths = [max(map(_width, column)) for column in zip(heads, *sample, strict=True)]
    for row in itertools.chain([heads], sample, source):
        padded = [cell + " " * (width - _width(cell)) for cell, width in zip(row[:-1], widths[:-1], strict=True)]
        yield "  ".join([*padded, row[-1]]).rstrip()


def table_row(record: Mapping[str, Any]) -> tuple[str, ...]:
    """The cells of a record under TABLE_HEADS; what it does not have is "-"."""
    meta = record.get("meta") or {}
    components = record.get("components") or []
    cells = [
        record.get("record_id"),
        *(",".join(meta.get(key) or []) for key in ("site_id", "user_id", "group_id")),
        _moment(record.get("start_time")),
        _moment(record.get("stop_time")),
        record.get("runtime"),
    ]
    told = " ".join(f"{component.get('name')}={component.get('amount')}" for component in components)
    return (*(_short("-" if cell in (None, "") else str(cell)) for cell in cells), told)


def details(record: Mapping[str, Any]) -> Iterator[str]:
    """A record in lines, for people."""
    for key in ("record_id", "start_time", "stop_time", "runtime"):
        value = record.get(key)
        unit = " seconds" if key == "runtime" and value is not None else ""
        yield f"{key:<11} {visible('-' if value is None else str(value))}{unit}"
    for key, values in sorted((record.get("meta") or {}).items()):
        yield f"meta        {visible(key)} = {', '.join(visible(str(value)) for value in values)}"
    for component in record.get("components") or []:
        scores = "".join(f"  {score.get('name')} {score.get('value')}" for score in component.get("scores") or [])
        yield f"component   {visible(str(component.get('name')))} = {component.get('amount')}{visible(scores)}"


def _short(text: str) -> str:
    return text if len(text) <= _CELL_MAX_CHARACTERS else f"{text[: _CELL_MAX_CHARACTERS - 1]}\u2026"


def _moment(value: Any) -> Any:
    """A time of the API without its fraction of a second."""
    return value[:19].replace("T", " ") if isinstance(value, str) and value[10:11] == "T" else value


def _width(text: str) -> int:
    """Columns of a terminal that `text` takes (Unicode Standard Annex 11)."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(each) else 1 + (unicodedata.east_asian_width(each) in ("W", "F")) for each in text
    )
