"""How addresses, form fields and attributes of pages are written."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote, urlencode


def day(value: datetime | None) -> str:
    """For a field of the type `date`; nothing for no moment."""
    return "" if value is None else value.astimezone(UTC).strftime("%Y-%m-%d")


def segment(name: str) -> str:
    """A name as one segment of a path: a slash in it is no slash of the path, and dots do not climb."""
    return quote(name, safe="").replace(".", "%2E") if name.strip(".") == "" else quote(name, safe="")


def query(fields: Mapping[str, str]) -> str:
    """Fields as a query string."""
    return urlencode(fields)


def sorted_by(order: str, column: str | None) -> str:
    """The value of `aria-sort` in a table's head: how the rows are sorted by it, "none" where they are not."""
    if column is None or order.lstrip("-") != column:
        return "none"
    return "descending" if order.startswith("-") else "ascending"


def month_fields(month: str) -> dict[str, str]:
    """The fields of the page of jobs that choose a month by its name."""
    first = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)
    after = first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
    return {"since": day(first), "until": day(after)}


def merged(one: Mapping[str, str], other: Mapping[str, str]) -> dict[str, str]:
    """Fields of both."""
    return {**one, **other}
