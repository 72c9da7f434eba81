"""In which form an answer is wanted: by `Accept`, or by `format=` in the query string, as a link says it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum

from jobmeter.query.fault import BadQuery
from jobmeter.serve.answer import Header, Scope

_KEY = b"format="


class Form(Enum):
    """What an answer can be, with the media types that ask for it, the first of which is answered."""

    JSON = ("application/json", "application/*", "*/*", "")
    LINES = ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines")
    CSV = ("text/csv", "text/*")
    PARQUET = ("application/vnd.apache.parquet", "application/x-parquet", "application/parquet")


BY_NAME = {"json": Form.JSON, "ndjson": Form.LINES, "csv": Form.CSV, "parquet": Form.PARQUET}
"""How `format=` names them; the names are the endings of files, too."""


def form_of(headers: Sequence[Header]) -> Form | None:
    """The first form that `Accept` names, by its order and weights; None when it names none of ours."""
    accept = b",".join(value for name, value in headers if name == b"accept").decode("latin-1")
    weighed = []
    for place, part in enumerate(accept.split(",")):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        weighed.append((-_weight(parameters), place, name))
    for weight, _, name in sorted(weighed):
        for form in Form if weight < 0 else ():
            if name in form.value:
                return form
    return None


def form_asked(scope: Scope, names: Sequence[str] = tuple(BY_NAME)) -> tuple[Form | None, bytes]:
    """The form that is wanted, one of `names` where a link says it, and the query string without the wish.

    `format` counts before `Accept`: what a person follows is a link, and browsers accept everything. Raises BadQuery.
    """
    query: bytes = scope["query_string"]
    named = [part for part in query.split(b"&") if part.startswith(_KEY)]
    if not named:
        return form_of(scope["headers"]), query
    name = named[0].removeprefix(_KEY).decode("latin-1")
    if len(named) > 1 or name not in names:
        raise BadQuery("format", f"is none of {', '.join(names)}, once")
    return BY_NAME[name], b"&".join(part for part in query.split(b"&") if part and part not in named)


def _weight(parameters: Iterable[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return float(parameter[2:])
            except ValueError:
                return 0.0
    return 1.0
