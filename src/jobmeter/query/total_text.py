"""Dimensions and measures of totals as text, as they stand in a query string and at the head of an answer.

    dimension   KEY or meta.KEY · day week month year (of the stop) · start.day … · component.NAME ·
                record_id start_time stop_time runtime
    measure     count · runtime · duration · NAME*runtime · NAME*SCORE*runtime · component.NAME*score.NAME

In a product the first plain name is a component, each plain name after it a score of that component; `component.NAME`
begins another component. A name that holds `,`, `*` or `"`, or that means something else otherwise, is written between
double quotes, a quote within it twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TypeVar

from jobmeter.model.question import Column
from jobmeter.model.record import name_fault
from jobmeter.model.total import (
    AmountDimension,
    Dimension,
    Extreme,
    Factor,
    FieldDimension,
    Measure,
    MetaDimension,
    Product,
    Span,
    TimeDimension,
    TimeUnit,
    TotalQuestion,
)
from jobmeter.query.fault import BadQuery, shown

_WORD = re.compile(r'(?:(meta|component|score|start|stop)\.)?("(?:[^"]|"")*"|[^,*"]+)')
_PLAIN = re.compile(r'[^,*"]+')
_UNITS = {unit.value: unit for unit in TimeUnit}
_SPANS = {span.value: span for span in Span}
_FIELDS = {column.value: column for column in Column}
_COUNT = "count"
_TIMES = {column.value: column for column in (Column.START_TIME, Column.STOP_TIME)}

T = TypeVar("T")

Word = tuple[str, str, bool]
"""What stands before the dot or "", the name, whether it was quoted."""


def dimensions_in(text: str, key: str) -> tuple[Dimension, ...]:
    """The dimensions that the value of `key` names. Raises BadQuery."""
    found: list[Dimension] = []
    for item in _items(text, key):
        if len(item) != 1:
            raise BadQuery(key, "a dimension is no product: write A,B")
        found.append(_dimension(item[0], key))
    return _distinct(found, key)


def products_in(text: str, key: str) -> tuple[Product, ...]:
    """The products to sum that the value of `key` names. Raises BadQuery."""
    return _distinct([_product(item, key) for item in _items(text, key)], key)


def extremes_in(text: str, key: str, *, latest: bool) -> tuple[Extreme, ...]:
    """The extremes that the value of `key` names. Raises BadQuery."""
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in _TIMES:
            raise BadQuery(key, f"unknown time `{shown(name)}`, expected one of {', '.join(_TIMES)}")
    return _distinct([Extreme(_TIMES[name], latest) for name in names], key)


def asked_for(question: TotalQuestion) -> Iterator[tuple[str, str]]:
    """The keys and values of a query string that name dimensions and measures."""
    if question.group_by:
        yield "group_by", ",".join(map(dimension_text, question.group_by))
    sums = [measure for measure in question.measures if isinstance(measure, Product)]
    if sums:
        yield "sum", ",".join(map(measure_text, sums))
    for word, latest in (("min", False), ("max", True)):
        ends = [each for each in question.measures if isinstance(each, Extreme) and each.latest is latest]
        if ends:
            yield word, ",".join(each.column.value for each in ends)


def dimension_text(dimension: Dimension) -> str:
    """`dimension` as it is asked for, and as it heads a column."""
    match dimension:
        case MetaDimension(key):
            plain = key not in _UNITS and key not in _FIELDS and _PLAIN.fullmatch(key) and key.strip() == key
            return key if plain and "." not in key else f"meta.{_quoted(key)}"
        case TimeDimension(unit, column):
            return unit.value if column is Column.STOP_TIME else f"start.{unit.value}"
        case FieldDimension(column):
            return column.value
        case AmountDimension(component):
            return f"component.{_quoted(component)}"


def measure_text(measure: Measure) -> str:
    """`measure` as it is asked for, and as it heads a column; an extreme as `min.stop_time`."""
    if isinstance(measure, Extreme):
        return f"{'max' if measure.latest else 'min'}.{measure.column.value}"
    words: list[str] = []
    for number, factor in enumerate(measure.factors):
        plain = number == 0 and not _has_meaning(factor.component)
        words.append(factor.component if plain else f"component.{_quoted(factor.component)}")
        words += [f"score.{_quoted(score)}" for score in factor.scores]
    if measure.span is not None:
        words.append(measure.span.value)
    return "*".join(words) or _COUNT


def _has_meaning(name: str) -> bool:
    plain = _PLAIN.fullmatch(name) is not None and name.strip() == name and "." not in name
    return not plain or name == _COUNT or name in _SPANS


def _quoted(name: str) -> str:
    if _PLAIN.fullmatch(name) and name.strip() == name:
        return name
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def _items(text: str, key: str) -> list[list[Word]]:
    """The words of each product, products parted by commas."""
    items: list[list[Word]] = [[]]
    at = 0
    while True:
        match = _WORD.match(text, at)
        if match is None:
            raise BadQuery(key, f"a name is missing at character {at + 1} of `{shown(text)}`")
        items[-1].append(_word(match, key))
        at = match.end()
        if at == len(text):
            return items
        if text[at] == ",":
            items.append([])
        elif text[at] != "*":
            raise BadQuery(key, f"neither `,` nor `*` at character {at + 1} of `{shown(text)}`")
        at += 1


def _word(match: re.Match[str], key: str) -> Word:
    prefix, name = match[1] or "", match[2]
    quoted = name.startswith('"')
    name = name[1:-1].replace('""', '"') if quoted else name.strip()
    if (reason := name_fault(name)) is not None:
        raise BadQuery(key, f"the name {shown(name)!r} {reason}")
    return prefix, name, quoted


def _dimension(word: Word, key: str) -> Dimension:
    prefix, name, quoted = word
    if prefix in ("start", "stop"):
        if name not in _UNITS:
            raise BadQuery(key, f"unknown stretch of time `{shown(name)}`, expected one of {', '.join(_UNITS)}")
        return TimeDimension(_UNITS[name], Column.START_TIME if prefix == "start" else Column.STOP_TIME)
    if prefix == "component":
        return AmountDimension(name)
    if prefix == "score":
        raise BadQuery(key, "records are not grouped by scores")
    if prefix == "" and not quoted:
        if name in _UNITS:
            return TimeDimension(_UNITS[name])
        if name in _FIELDS:
            return FieldDimension(_FIELDS[name])
    return MetaDimension(name)


def _product(words: list[Word], key: str) -> Product:
    factors: list[Factor] = []
    spans: list[Span] = []
    counts = 0
    for prefix, name, quoted in words:
        if prefix in ("meta", "start", "stop"):
            raise BadQuery(key, f"`{prefix}.` is nothing that can be summed")
        if not prefix and not quoted and name in _SPANS:
            spans.append(_SPANS[name])
        elif not prefix and not quoted and name == _COUNT:
            counts += 1
        elif prefix == "component" or (not prefix and not factors):
            factors.append(Factor(name))
        elif not factors:
            raise BadQuery(key, f"the score `{shown(name)}` has no component before it")
        else:
            factors[-1] = Factor(factors[-1].component, (*factors[-1].scores, name))
    if counts and len(words) > 1:
        raise BadQuery(key, "`count` stands alone")
    if len(spans) > 1:
        raise BadQuery(key, "a product has at most one of `runtime` and `duration`")
    return Product(tuple(factors), spans[0] if spans else None)


def _distinct(found: Sequence[T], key: str) -> tuple[T, ...]:
    if len(set(found)) != len(found):
        raise BadQuery(key, "names something twice")
    return tuple(found)
