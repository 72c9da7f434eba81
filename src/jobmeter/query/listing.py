"""What `GET /v2/records` understands beyond the filter language: `cursor`, and `columns` of a table."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from jobmeter.model.question import Question, Scope
from jobmeter.query.cursor import place_of
from jobmeter.query.fault import BadQuery
from jobmeter.query.pairs import Pair, pairs
from jobmeter.query.parse import question_of

_OURS = ("cursor", "columns")


class Listing(Struct, frozen=True):
    """A question, and the columns that a table of the answer shall have (empty: those that the server chooses)."""

    question: Question
    columns: tuple[str, ...] = ()


def parse_listing(query: bytes | str, scope: Scope) -> Listing:
    """The listing that a query string asks for within `scope`. Raises BadQuery and nothing else.

    An empty cursor means the beginning.
    """
    given: dict[str, Pair] = {}
    conditions: list[Pair] = []
    for pair in pairs(query):
        if pair.path[0] not in _OURS:
            conditions.append(pair)
        elif len(pair.path) != 1:
            raise BadQuery(pair.key, f"takes one value, written {pair.path[0]}=value")
        elif pair.path[0] in given:
            raise BadQuery("", f'Multiple values for one key: "{pair.key}"')
        else:
            given[pair.path[0]] = pair
    question = question_of(conditions, scope)
    if "cursor" in given and given["cursor"].value:
        question = replace(question, after=place_of(question, given["cursor"].value))
    columns = given["columns"].value.split(",") if "columns" in given and given["columns"].value else []
    if "" in columns:
        raise BadQuery("columns", "holds an empty name")
    return Listing(question, tuple(columns))
