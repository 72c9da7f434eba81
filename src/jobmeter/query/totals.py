"""From the query string of `GET /v2/totals` to a question for totals: the filter language, and what to sum by what."""

from __future__ import annotations

from jobmeter.model.question import Scope
from jobmeter.model.total import COUNT, Measure, TotalQuestion
from jobmeter.query.fault import BadQuery
from jobmeter.query.pairs import Pair, pairs
from jobmeter.query.parse import Draft
from jobmeter.query.total_text import dimensions_in, extremes_in, products_in

FACTORS_MAX = 4
"""Factors of one product: each is one more look into every record."""
DIMENSIONS_MAX = 8
MEASURES_MAX = 16

_OWN = ("group_by", "sum", "min", "max")
_NOT_HERE = ("sort_by", "limit")


def parse_totals(query: bytes | str, scope: Scope) -> TotalQuestion:
    """The question for totals that a query string (without `?`) asks within `scope`. Raises BadQuery and nothing else.

    Measures come in the order sums, minima, maxima; with none of them it is the count.
    """
    draft = Draft()
    own: dict[str, str] = {}
    for pair in pairs(query):
        if pair.path[0] in _NOT_HERE:
            raise BadQuery(pair.key, "totals have no order and no limit of records")
        if pair.path[0] in _OWN:
            _take(draft, pair, own)
        else:
            draft.take(pair)
    group_by = dimensions_in(own["group_by"], "group_by") if "group_by" in own else ()
    measures: tuple[Measure, ...] = (
        *(products_in(own["sum"], "sum") if "sum" in own else ()),
        *(extremes_in(own["min"], "min", latest=False) if "min" in own else ()),
        *(extremes_in(own["max"], "max", latest=True) if "max" in own else ()),
    )
    question = TotalQuestion(draft.question(scope), group_by, measures or (COUNT,))
    _check_sizes(question)
    return question


def _take(draft: Draft, pair: Pair, own: dict[str, str]) -> None:
    if len(pair.path) != 1:
        raise BadQuery(pair.key, f"takes one value, written {pair.path[0]}=A,B")
    draft.once(pair, pair.path)
    if pair.value:
        own[pair.path[0]] = pair.value


def _check_sizes(question: TotalQuestion) -> None:
    if len(question.group_by) > DIMENSIONS_MAX:
        raise BadQuery("group_by", f"has {len(question.group_by)} dimensions, {DIMENSIONS_MAX} are allowed")
    if len(question.measures) > MEASURES_MAX:
        raise BadQuery("", f"{len(question.measures)} measures are asked for, {MEASURES_MAX} are allowed")
    for measure in question.measures:
        factors = getattr(measure, "factors", ())
        if len(factors) + sum(len(factor.scores) for factor in factors) > FACTORS_MAX:
            raise BadQuery("sum", f"a product has more than {FACTORS_MAX} components and scores")
