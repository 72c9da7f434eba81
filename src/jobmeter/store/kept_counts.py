"""Counts of records by the values under chosen meta keys, kept with the rollups: to read them no record is looked at.

A record counts under each distinct value of its list. A key that is newly chosen is *building*: from then on every fold
and change adds to its rows. Then all records that are in the rollups are counted in one view of the database, and what
the rows held in that view is taken off again: what was folded or changed meanwhile is in the rows, so that nothing is
missing or counted twice, and nobody had to wait. Whoever writes here keeps the others out, as for rollups.

A key with more than VALUES_MAX values is *refused*, and its rows go: it names jobs, not groups of them.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from enum import IntEnum
from typing import Protocol

import msgspec
from msgspec import Struct
from sqlalchemy import ColumnElement, bindparam, delete, func, insert, select, text, update

from jobmeter.store.archive.ledger import Execute
from jobmeter.store.tables import counted_keys, counted_values

VALUES_MAX = 10_000
_LOOK_EVERY = 10_000

log = logging.getLogger("jobmeter.store")


Word = tuple[str, str]
"""A meta key and a value under it."""


class KeyState(IntEnum):
    """How far the counts of a key are."""

    BUILDING = 0
    READY = 1
    REFUSED = 2


Archived = Callable[[Collection[str]], Mapping[Word, int]]


class Source(Protocol):
    """A connection in a transaction, as one for totals has it."""

    def bodies(self, only: ColumnElement[bool] | None) -> Iterable[bytes]:
        """The bodies of the records of which `only` is true."""
        ...


class View:
    """One state of a database and its archive. `pending` is true of the records in no rollup yet; None: there are none.

    `archived` tells how many archived records hold each value under some keys.
    """

    def __init__(
        self, execute: Execute, source: Source, pending: ColumnElement[bool] | None, archived: Archived
    ) -> None:
        self.execute = execute
        self._source = source
        self._pending = pending
        self.archived = archived

    def bodies(self) -> Iterable[bytes]:
        """Those of all records that are in the database."""
        return self._source.bodies(None)

    def pending_bodies(self) -> Iterable[bytes]:
        """Those of the records that are in no rollup yet."""
        return () if self._pending is None else self._source.bodies(self._pending)


class KeptCounts:
    """The counts of one database. `writing` is a transaction in which nobody else writes rollups, `viewing` a view."""

    def __init__(
        self,
        writing: Callable[[], AbstractContextManager[Execute]],
        viewing: Callable[[], AbstractContextManager[View]],
    ) -> None:
        self._writing = writing
        self._viewing = viewing

    def choose(self, keys: Collection[str]) -> None:
        """See CountsByKey."""
        with self._viewing() as view:
            if _keys(view.execute, KeyState.READY, KeyState.REFUSED).keys() == set(keys):
                return
        with self._writing() as execute:
            choose(execute, keys)
        with self._viewing() as view:
            built = build(view)
        with self._writing() as execute:
            finish(execute, built)

    def of(self, key: str) -> dict[str, int] | None:
        """See CountsByKey."""
        with self._viewing() as view:
            return counts_of(view.execute, key)


class _Meta(Struct):
    meta: dict[str, tuple[str, ...]] | None = None


_meta_of = msgspec.json.Decoder(_Meta).decode

_ADD = text(
    "INSERT INTO counted_values (key_no, digest, value, n) VALUES (:number, :digest, :value, :n) "
    "ON CONFLICT (key_no, digest) DO UPDATE SET n = counted_values.n + excluded.n"
)


def add_words(words: dict[Word, int], keys: Collection[str], body: bytes, sign: int) -> None:
    """Add a record to counts, or with a `sign` of -1 take it away."""
    meta = _meta_of(body).meta
    for key in keys if meta else ():
        for value in {*meta.get(key, ())} if meta else ():
            words[key, value] = words.get((key, value), 0) + sign


def followed(execute: Execute) -> dict[str, int]:
    """The keys of which counts are kept or being built, with their numbers."""
    return _keys(execute, KeyState.BUILDING, KeyState.READY)


def ready(execute: Execute) -> dict[str, int]:
    """The keys whose counts are whole."""
    return _keys(execute, KeyState.READY)


def building(execute: Execute) -> dict[str, int]:
    """The keys whose counts are not whole yet."""
    return _keys(execute, KeyState.BUILDING)


def choose(execute: Execute, keys: Collection[str]) -> None:
    """Follow these keys and no others."""
    known = _keys(execute, *KeyState)
    gone = [number for key, number in known.items() if key not in keys]
    if gone:
        execute(delete(counted_values).where(counted_values.c.key_no.in_(gone)))
        execute(delete(counted_keys).where(counted_keys.c.no.in_(gone)))
    for key in keys:
        if key not in known:
            execute(insert(counted_keys).values(key=key, state=KeyState.BUILDING))


def add(execute: Execute, words: Mapping[Word, int]) -> None:
    """Add counts to those of keys that are followed."""
    numbers = followed(execute) if words else {}
    for (key, value), n in sorted(words.items()):
        if key in numbers and n:
            digest = hashlib.blake2b(value.encode(), digest_size=16).digest()
            execute(_ADD.bindparams(number=numbers[key], digest=digest, value=value, n=n))
    for number in {numbers[key] for key, _ in words if key in numbers}:
        execute(delete(counted_values).where(counted_values.c.key_no == number, counted_values.c.n == 0))
        counted = select(func.count()).select_from(counted_values).where(counted_values.c.key_no == number)
        if execute(counted)[0][0] > VALUES_MAX:
            _refuse(execute, number)


def _refuse(execute: Execute, number: int) -> None:
    execute(delete(counted_values).where(counted_values.c.key_no == number))
    execute(update(counted_keys).where(counted_keys.c.no == number).values(state=KeyState.REFUSED))
    log.warning("counts.too_many_values key_no=%d most=%d", number, VALUES_MAX)


class Built(Struct, frozen=True):
    """What is to be added to the rows of keys that are building, by their numbers."""

    numbers: dict[str, int]
    words: dict[Word, int]
    crowded: frozenset[str] = frozenset()
    """Those that turned out to have too many values."""


def build(view: View) -> Built:
    """Count all records that are in the rollups, less what the rows hold already."""
    numbers = building(view.execute)
    words: Counter[Word] = Counter()
    if numbers:
        words.update(view.archived(numbers))
        counted = set(numbers)
        for place, body in enumerate(view.bodies()):
            if place % _LOOK_EVERY == 0:
                counted -= crowded(words)
            add_words(words, counted, body, 1)
        waiting: dict[Word, int] = {}
        for body in view.pending_bodies():
            add_words(waiting, numbers, body, 1)
        words.subtract(waiting)
        words.subtract(words_held(view.execute, numbers))
    return Built(numbers, words, crowded(words))


def crowded(words: Mapping[Word, int]) -> frozenset[str]:
    """The keys with too many values."""
    values = Counter(key for key, _ in words)
    return frozenset(key for key, count in values.items() if count > VALUES_MAX)


def finish(execute: Execute, built: Built) -> None:
    """Add what was built to keys that were building under these numbers and are still."""
    now = building(execute)
    still = {key: number for key, number in built.numbers.items() if now.get(key) == number}
    for key in still.keys() & built.crowded:
        _refuse(execute, still.pop(key))
    add(execute, {word: n for word, n in built.words.items() if word[0] in still})
    for key in still.keys() & building(execute).keys():
        execute(update(counted_keys).where(counted_keys.c.no == still[key]).values(state=KeyState.READY))


def begin_anew(execute: Execute) -> None:
    """Empty the counts: whoever calls adds all records again. What is being built is of no use any more."""
    keys = followed(execute)
    execute(delete(counted_values))
    for key, number in keys.items():
        execute(delete(counted_keys).where(counted_keys.c.no == number))
        execute(insert(counted_keys).values(key=key, state=KeyState.READY))


def words_held(execute: Execute, keys: Mapping[str, int]) -> dict[Word, int]:
    """What the rows of these keys hold."""
    names = {number: key for key, number in keys.items()}
    columns = (counted_values.c.key_no, counted_values.c.value, counted_values.c.n)
    rows = execute(select(*columns).where(counted_values.c.key_no.in_(bindparam("numbers", [*names], expanding=True))))
    return {(names[number], _text(value)): n for number, value, n in rows}


def counts_of(execute: Execute, key: str) -> dict[str, int] | None:
    """How many records that are in the rollups hold each value; None where that is not kept."""
    number = ready(execute).get(key)
    if number is None:
        return None
    return {value: n for (_, value), n in words_held(execute, {key: number}).items()}


def _keys(execute: Execute, *states: KeyState) -> dict[str, int]:
    rows: Iterable[tuple[str | bytes, int]] = execute(
        select(counted_keys.c.key, counted_keys.c.no).where(counted_keys.c.state.in_(states))
    )
    return {_text(key): number for key, number in rows}


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode()
