"""Rollups: what records add up to, by month of the stop, site, group, user and kind of component.

Folding, checking and building anew all read the cores of records and sum them here: 7 microseconds a record, where SQL
that opens the JSON took 60 in SQLite, of the processor's time. Where a stored record changes, `Sums.take` adds the
difference.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import ColumnElement, Select, select

from jobmeter.model.record import from_microseconds
from jobmeter.store.core import json_of
from jobmeter.store.grouped import DAY_US
from jobmeter.store.kept_counts import Word, add_words
from jobmeter.store.tables import records

FOLD_BATCHES = 200
"""Batches that are folded at once unless told otherwise."""

FINE, BY_SITE = 0, 1
"""Levels: rows for each group and user, and rows that hold all groups and users of a site."""
WITH_SCORES = 2
"""Added to a level: rows of all components of a name that have scores, under the kind of those that have none."""

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
    def plain(self) -> Kind:
        """The same name without scores."""
        return Kind(self.name, ())

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


class _Score(Struct, frozen=True, gc=False):
    name: str
    value: float


class _Component(Struct, gc=False):
    name: str
    amount: int
    scores: tuple[_Score, ...]


class _Body(Struct, gc=False):
    components: list[_Component]


_Name = str | tuple[str, tuple[_Score, ...]]
"""A name of components, and their scores where they have some."""


_encode = msgspec.json.Encoder().encode
_decode_kind = msgspec.json.Decoder(tuple[str, tuple[tuple[str, float], ...]]).decode
_decode_body = msgspec.json.Decoder(_Body).decode


class State(Struct, frozen=True):
    """A record as far as rollups need it: its row without the key."""

    start_us: int
    stop_us: int | None
    site: int | None
    grp: int | None
    usr: int | None
    body: bytes


class _Group:
    """What records of one month, site, group and user add up to."""

    __slots__ = ("amounts", "micros", "n", "seconds")

    def __init__(self) -> None:
        self.n = self.seconds = self.micros = 0
        self.amounts: dict[_Name, list[int]] = {}

    def take(self, micros: int, components: Iterable[_Component]) -> None:
        """Add a record."""
        seconds = micros // 1_000_000
        self.n += 1
        self.seconds += seconds
        self.micros += micros
        amounts = self.amounts
        for one in components:
            amount = one.amount
            name: _Name = (one.name, one.scores) if one.scores else one.name
            row = amounts.get(name)
            if row is None:
                amounts[name] = [1, amount, amount * seconds]
            else:
                row[0] += 1
                row[1] += amount
                row[2] += amount * seconds


class Sums:
    """Rows of the two rollups, by key: count, seconds and microseconds; count, amount and amount times seconds.

    `days` are those that the records stopped on, where known: their kept sums are of the past when this is added.
    And counts by the values under the meta `keys`.
    """

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self.keys = frozenset(keys)
        self.words: dict[Word, int] = {}
        self.times: dict[Place, list[int]] = {}
        self.amounts: dict[tuple[Kind, Place], list[int]] = {}
        self.days: set[int] = set()

    def take(self, state: State, sign: int) -> None:
        """Add a record, or with a `sign` of -1 take it away."""
        month = 0 if state.stop_us is None else _month(state.stop_us)
        micros = 0 if state.stop_us is None else state.stop_us - state.start_us
        if state.stop_us is not None:
            self.days.add(state.stop_us // DAY_US)
        places = _levels(month, state.site, state.grp, state.usr)
        if self.keys:
            add_words(self.words, self.keys, state.body, sign)
        for place in places:
            _add(self.times, place, (sign, sign * (micros // 1_000_000), sign * micros))
        for part in _decode_body(state.body).components:
            seconds = part.amount * (micros // 1_000_000)
            for key in _keys(_kind(part.name, part.scores), places):
                _add(self.amounts, key, (sign, sign * part.amount, sign * seconds))

    def take_rows(self, rows: Iterable[Sequence[Any]]) -> None:
        """Add rows of `select_cores`."""
        months: dict[int, int] = {}
        groups: dict[tuple[int, int | None, int | None, int | None], _Group] = {}
        for start_us, stop_us, site, grp, usr, core in rows:
            month, micros = 0, 0
            if stop_us is not None:
                micros = stop_us - start_us
                day = stop_us // DAY_US
                month = months.get(day) or months.setdefault(day, _month(stop_us))
            key = month, site, grp, usr
            group = groups.get(key)
            if group is None:
                group = groups[key] = _Group()
            inside = json_of(core)
            group.take(micros, _decode_body(inside).components)
            if self.keys:
                add_words(self.words, self.keys, inside, 1)
        self._take_groups(groups)
        self.days.update(months)

    def _take_groups(self, groups: Mapping[tuple[int, int | None, int | None, int | None], _Group]) -> None:
        kinds: dict[_Name, Kind] = {}
        for (month, site, grp, usr), group in groups.items():
            places = _levels(month, site, grp, usr)
            for place in places:
                _add(self.times, place, (group.n, group.seconds, group.micros))
            for name, row in group.amounts.items():
                kind = kinds.get(name)
                if kind is None:
                    kind = kinds[name] = Kind(name, ()) if isinstance(name, str) else _kind(*name)
                for key in _keys(kind, places):
                    _add(self.amounts, key, row)

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
        for word, n in other.words.items():
            self.words[word] = self.words.get(word, 0) + n

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
        for word in sorted({*self.words, *other.words}):
            counted, there = self.words.get(word, 0), other.words.get(word, 0)
            if word[0] in self.keys and counted != there:
                yield f"{word}: {counted} records are counted, there are {there}"


def select_cores(only: ColumnElement[bool] | None) -> Select[Any]:
    """What sums are made of: times, facets and cores of the records of which `only` is true."""
    columns = [records.c[name] for name in ("start_us", "stop_us", "site", "grp", "usr", "core")]
    statement = select(*columns)
    return statement if only is None else statement.where(only)


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


def _kind(name: str, scores: Sequence[_Score]) -> Kind:
    return Kind(name, tuple((score.name, score.value) for score in scores))


def _levels(month: int, site: int | None, group: int | None, user: int | None) -> tuple[Place, Place]:
    """Where a record counts."""
    return (FINE, month, site or 0, group or 0, user or 0), (BY_SITE, month, site or 0, 0, 0)


def _keys(kind: Kind, places: Sequence[Place]) -> Iterator[tuple[Kind, Place]]:
    """The rows of amounts that a component of this kind counts in."""
    for place in places:
        yield kind, place
        if kind.scores:
            yield kind.plain, (place[0] + WITH_SCORES, *place[1:])


def _month(stop_us: int) -> int:
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
