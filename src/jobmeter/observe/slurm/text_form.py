"""The table that `sacct -P --delimiter=…` prints, whatever stands in its texts.

A comment may hold `|`, line breaks and anything else a user types. So the delimiter is a random word, made anew for
every run, and the first and last column of a line never hold free text: where one line ends and the next begins is
then known from the number of columns alone. Verified with Slurm 22.05, which takes delimiters of any length.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence

from jobmeter.contract import Refused
from jobmeter.observe.slurm.row import Row


def new_delimiter() -> str:
    """A word that nobody can have put into a comment."""
    return f"<{secrets.token_hex(12)}>"


def parse(text: str, columns: Sequence[str], delimiter: str) -> Iterator[Row | Refused]:
    """The rows of the table, each with all `columns`; what is no row is refused and the rest goes on."""
    if not text:
        return
    pieces = text.split(delimiter)
    names = [column.lower() for column in columns]
    width = len(columns) - 1
    first = pieces[0]
    for at in range(1, len(pieces), width):
        inner = pieces[at : at + width]
        last, newline, following = inner[-1].partition("\n")
        fields = (first, *inner[:-1], last)
        raw = "|".join(fields)
        if len(fields) != len(columns):
            yield Refused(raw, f"the output ends within a line: {len(fields)} of {len(columns)} columns")
            return
        row = Row(dict(zip(names, fields, strict=True)), raw)
        yield row if row.is_sound else Refused(raw, f"{row.values['jobid'][:80]!r} is not the id of a job")
        first = following
        if not newline:
            return
    if first.strip():
        yield Refused(first, "the output ends with something that is no line")
