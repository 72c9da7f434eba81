"""What `GET /v2/samples` understands: which samples, of which time, at which step."""

from __future__ import annotations

import re
from datetime import datetime

from msgspec import Struct

from jobmeter.model.record import microseconds
from jobmeter.model.series import SampleQuestion
from jobmeter.query.fault import BadQuery
from jobmeter.query.pairs import Pair, pairs

SECOND_NS = 10**9
_HOUR_NS = 3600 * SECOND_NS
_UNITS = {"ms": 10**6, "s": SECOND_NS, "m": 60 * SECOND_NS, "h": _HOUR_NS, "d": 24 * _HOUR_NS}
_SPAN = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*(ms|s|m|h|d)?", re.ASCII)
_SECONDS = re.compile(r"-?\d{1,10}(?:\.\d{1,9})?", re.ASCII)
_TEXTS = ("manager", "cluster", "job", "node", "source")
_FLAGS = ("involving", "node_only")
_ALL = (*_TEXTS, *_FLAGS, "run", "metric", "from", "to", "step")


class _Given(Struct):
    texts: dict[str, str]
    metrics: list[str]


def parse_samples(query: bytes | str) -> SampleQuestion:
    """The question that a query string asks. Raises BadQuery and nothing else.

    `manager`, `cluster`, `job`, `run`, `node`, `source`: as they are. `metric`: names with commas between; may stand
    several times. `from` inclusive and `to` exclusive: ISO 8601 with its zone (or in UTC), or seconds since 1970.
    `step`: seconds, or a number with ms, s, m, h or d. `involving=true`: also samples of nodes that the job was on.
    `node_only=true`: only those of nodes.
    """
    given = _Given({}, [])
    for pair in pairs(query):
        _take(pair, given)
    texts = given.texts
    return SampleQuestion(
        manager=texts.get("manager"),
        cluster=texts.get("cluster"),
        job=texts.get("job"),
        run=None if "run" not in texts else _run(texts["run"]),
        node=texts.get("node"),
        source=texts.get("source"),
        metrics=tuple(given.metrics),
        from_ns=None if "from" not in texts else moment_ns("from", texts["from"]),
        to_ns=None if "to" not in texts else moment_ns("to", texts["to"]),
        step_ns=None if "step" not in texts else span_ns("step", texts["step"]),
        involving=_flag("involving", texts),
        node_only=_flag("node_only", texts),
    )


def _take(pair: Pair, given: _Given) -> None:
    name = pair.path[0]
    if name not in _ALL or len(pair.path) != 1:
        raise BadQuery(pair.key, f"is not known; there is {', '.join(sorted(_ALL))}")
    if name == "metric":
        given.metrics += [one.strip() for one in pair.value.split(",") if one.strip()]
    elif name in given.texts:
        raise BadQuery(pair.key, "is given twice")
    else:
        given.texts[name] = pair.value


def _run(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise BadQuery("run", "must be a whole number")
    return int(text)


def _flag(name: str, texts: dict[str, str]) -> bool:
    text = texts.get(name, "false")
    if text not in ("true", "false"):
        raise BadQuery(name, "must be true or false")
    return text == "true"


def moment_ns(key: str, text: str) -> int:
    """A moment as nanoseconds since 1970. Raises BadQuery."""
    if _SECONDS.fullmatch(text):
        whole, _, part = text.partition(".")
        return int(whole) * SECOND_NS + int(part.ljust(9, "0") or "0")
    try:
        moment = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
    except ValueError:
        raise BadQuery(key, "must be a moment as 2024-01-31T12:00:00Z, or seconds since 1970") from None
    if moment.tzinfo is None:
        moment = datetime.fromisoformat(moment.isoformat() + "+00:00")
    return microseconds(moment) * 1000


def span_ns(key: str, text: str) -> int:
    """A length of time in nanoseconds, more than nothing. Raises BadQuery."""
    match = _SPAN.fullmatch(text.strip())
    span = 0 if match is None else round(float(match[1]) * _UNITS[match[2] or "s"])
    if span <= 0:
        raise BadQuery(key, "must be a length of time as 30s, 5m, 1h or a number of seconds")
    return span
