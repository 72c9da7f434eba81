"""What pages of the reference are written with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

HEAD = "<!-- Written by `make docs` from the code. Change the code, not this page. -->"


def cell(text: str) -> str:
    """A text as it may stand in a table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def sentence(text: str) -> str:
    """With a capital letter and a full stop."""
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"


def table(head: str, rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """A table with these heads, `a | b`; nothing when there are no rows. Cells are Markdown."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    if lines:
        yield from (f"| {head} |", "|" + "---|" * (head.count(" | ") + 1), *lines, "")
