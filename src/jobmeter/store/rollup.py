"""Rollups: what records add up to, by month of the stop, site, group, user and kind of component.

One SELECT sums records to the rows of a rollup; folding, checking and building anew all use it. Where a stored record
changes, `Sums.take` adds the difference.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import BigInteger, ColumnElement, Select, func, literal, select

from jobmeter.model.record import from_microseconds
from jobmeter.store.grouped import DAY_US
from jobmeter.store.statement import View, seconds_of

FOLD_BATCHES = 200
"""Batches that are folded at once unless told otherwise."""

FINE, BY_SITE = 0, 1
"""Levels: rows for each group and user, and rows that hold all groups and users of a site."""

Place = tuple[int, int, int, int, int]
"""Level, month, site, group, user; 0 for none, and on a level of sums of groups and users."""


class Kind(Struct, frozen=True):
    """A name of components with the scores that they have, in order."""

    name: str
    scores: tuple[tuple[str, float], ...]

    @property
    def digest(self) -> bytes:
        """What it is found by."""
        return _digest([self.name, self.scores])

    @property
    def name_digest(self) -> bytes:
        """What all kinds of its name are found by."""
        return name_digest(self.name)

    @property
    def value(self) -> str:
        """Itself as JSON."""
        return _encode([self.name, self.scores]).decode()


def name_digest(name: str) -> bytes:
    """What all kinds of `name` are found by."""
    return _digest(name)


def kind_of(value: str | bytes) -> Kind:
    """The kind that `Kind.value` gives."""
    name, scores = _decode_kind(value)
    return Kind(name, scores)


class _Score(Struct):
    name: str
    value: float


class _Component(Struct):
    name: str
    amount: int
    scores: tuple[_Score, ...]


class _Body(Struct):
    components: tuple[_Component, ...]


_encode = msgspec.json.Encoder().encode
_decode_kind = msgspec.json.Decoder(tuple[str, tuple[tuple[str, float], ...]]).decode
_decode_scores = msgspec.json.Decoder(tuple[_Score, ...]).decode
_decode_body = msgspec.json.Decoder(_Body).decode


class State(Struct, frozen=True):
    """A record as far as rollups need it: its row without the key."""

    start_us: int
    stop_us: int | None
    site: int | None
    grp: int | None
    usr: int | None
    body: bytes


class Sums:
    """Rows of the two rollups, by key: count, seconds and microseconds; count, amount and amount times seconds.

    `days` are those that the records stopped on, where known: their kept sums are of the past when this is added.
    """

    def __init__(self) -> None:
        self.times: dict[Place, list[int]] = {}
        self.amounts: dict[tuple[Kind, Place], list[int]] = {}
        self.days: set[int] = set()

    def take(self, state: State, sign: int) -> None:
        """Add a record, or with a `sign` of -1 take it away."""
        month = _month(state.stop_us)
        micros = 0 if state.stop_us is None else state.stop_us - state.start_us
        if state.stop_us is not None:
            self.days.add(state.stop_us // DAY_US)
        places = _levels(month, state.site, state.grp, state.usr)
        for place in places:
            _add(self.times, place, (sign, sign * (micros // 1_000_000), sign * micros))
        for part in _decode_body(state.body).components:
            kind = Kind(part.name, tuple((score.name, score.value) for score in part.scores))
            seconds = part.amount * (micros // 1_000_000)
            for place in places:
                _add(self.amounts, (kind, place), (sign, sign * part.amount, sign * seconds))

    def take_times(self, rows: Iterable[Sequence[Any]]) -> None:
        """Add rows of `select_times`."""
        for month, site, group, user, n, seconds, micros in rows:
            row = (n, whole(seconds), whole(micros))
            for place in _levels(month, site, group, user):
                _add(self.times, place, row)

    def take_amounts(self, rows: Iterable[Sequence[Any]]) -> None:
        """Add rows of `select_amounts`."""
        known: dict[tuple[Any, Any], Kind] = {}
        for name, scores, month, site, group, user, n, amount, amount_seconds in rows:
            kind = known.get((name, scores))
            if kind is None:
                text = name.decode() if isinstance(name, bytes) else name
                kind = Kind(text, tuple((score.name, score.value) for score in _decode_scores(scores)))
                known[name, scores] = kind
            row = (n, whole(amount), whole(amount_seconds))
            for place in _levels(month, site, group, user):
                _add(self.amounts, (kind, place), row)

    def take_rolled(self, rows: Iterable[Sequence[Any]]) -> None:
        """Add rows of the table `rollups`."""
        for level, month, site, group, user, *numbers in rows:
            _add(self.times, (level, month, site, group, user), [whole(number) for number in numbers])

    def take_kinds(self, rows: Iterable[Sequence[Any]]) -> None:
        """Add rows of the table `rollup_amounts`, with the kind in place of its number."""
        for kind, level, month, site, group, user, *numbers in rows:
            _add(self.amounts, (kind, (level, month, site, group, user)), [whole(number) for number in numbers])

    def add(self, other: Sums) -> None:
        """Add all of `other`."""
        for place, row in other.times.items():
            _add(self.times, place, row)
        for key, row in other.amounts.items():
            _add(self.amounts, key, row)
        self.days |= other.days

    def without_nothing(self) -> Sums:
        """The same without the rows that no record is in."""
        self.times = {key: row for key, row in self.times.items() if any(row)}
        self.amounts = {key: row for key, row in self.amounts.items() if any(row)}
        return self

    def differences(self, other: Sums) -> Iterator[str]:
        """A sentence for each row that is not the same there; rows that no record is in do not count."""
        self.without_nothing()
        other.without_nothing()
        for mine, theirs in ((self.times, other.times), (self.amounts, other.amounts)):
            for key in sorted({*mine, *theirs}, key=repr):
                if mine.get(key) != theirs.get(key):
                    yield f"{key}: {mine.get(key)}, records add up to {theirs.get(key)}"


def select_times(view: View, only: ColumnElement[bool] | None, *, exact: bool) -> Select[Any]:
    """The records' rows of `rollups`."""
    inner = _inner(view, only)
    none = literal(0, BigInteger())
    seconds, micros = func.coalesce(seconds_of(inner), none), func.coalesce(inner.c.stop_us - inner.c.start_us, none)
    key = [inner.c[name] for name in ("month", "site", "grp", "usr")]
    sums = [view.probe.sum_of([column], exact=exact) for column in (seconds, micros)]
    return select(*key, func.count(), *sums).group_by(*key)


def select_amounts(view: View, only: ColumnElement[bool] | None, *, exact: bool) -> Select[Any]:
    """The records' rows of `rollup_amounts`; name and scores, as JSON, in place of the kind's number."""
    inner = _inner(view, only, with_elements=True)
    seconds = func.coalesce(seconds_of(inner), literal(0, BigInteger()))
    key = [inner.c[name] for name in ("name", "scores", "month", "site", "grp", "usr")]
    return select(
        *key,
        func.count(),
        view.probe.sum_of([inner.c.amount], exact=exact),
        view.probe.sum_of([inner.c.amount, seconds], exact=exact),
    ).group_by(*key)


def _inner(view: View, only: ColumnElement[bool] | None, *, with_elements: bool = False) -> Any:
    rows, probe = view.rows, view.probe
    columns = [probe.month(rows.c.stop_us).label("month"), rows.c.site, rows.c.grp, rows.c.usr]
    statement = select(*columns, rows.c.start_us, rows.c.stop_us)
    if with_elements:
        element = probe.element(None, 0)
        statement = statement.add_columns(
            probe.name_of(element).label("name"),
            probe.scores_of(element).label("scores"),
            element.amount.label("amount"),
        ).select_from(rows, element.rows)
    return (statement if only is None else statement.where(only)).subquery("r")


def whole(value: Any) -> int:
    """A whole number as a database gives it: also as digits, or as a decimal."""
    return value if isinstance(value, int) else int(value.decode() if isinstance(value, bytes) else value)


def _add(rows: dict[Any, list[int]], key: object, numbers: Sequence[int]) -> None:
    row = rows.get(key)
    if row is None:
        rows[key] = list(numbers)
    else:
        for place, number in enumerate(numbers):
            row[place] += number


def _levels(month: int | None, site: int | None, group: int | None, user: int | None) -> tuple[Place, Place]:
    """Where a record counts."""
    return (FINE, month or 0, site or 0, group or 0, user or 0), (BY_SITE, month or 0, site or 0, 0, 0)


def _month(stop_us: int | None) -> int:
    if stop_us is None:
        return 0
    moment = from_microseconds(stop_us)
    return moment.year * 12 + moment.month - 1


def first_of(month: int) -> int:
    """Microseconds since 1970 when `month` begins."""
    return round(datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC).timestamp()) * 1_000_000


def month_that_begins(us: int) -> int | None:
    """The month that begins exactly at `us`, or None."""
    try:
        month = _month(us)
    except OverflowError:
        return None
    return month if first_of(month) == us else None


def _digest(value: object) -> bytes:
    return hashlib.blake2b(_encode(value), digest_size=16).digest()
