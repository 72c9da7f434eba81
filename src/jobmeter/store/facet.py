"""Facets: the parts of a record's meta that questions and totals are made of, kept as numbers of a dictionary.

A facet's *value* is the record's meta restricted to the facet's keys. Each distinct value has one number, and one row
in the table `facet_terms` for each fact that a condition can ask about: "has this key", "holds this value under this
key". A fact is stored as a digest, so names of any length fit an index.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import msgspec
from msgspec import Struct

from jobmeter.model.record import MetaMap


class Facet(Struct, frozen=True):
    """`keys` are the meta keys that make it up, `column` the column of `records` that holds its number."""

    number: int
    name: str
    column: str
    keys: tuple[str, str]


SITE = Facet(1, "site", "site", ("site_id", "site"))
GROUP = Facet(2, "group", "grp", ("group_id", "group"))
USER = Facet(3, "user", "usr", ("user_id", "user"))
FACETS = (SITE, GROUP, USER)
FACET_OF_KEY = {key: facet for facet in FACETS for key in facet.keys}
FACET_OF_NAME = {facet.name: facet for facet in FACETS}

Values = tuple[str, ...] | None
Signature = tuple[int, Values, Values]
"""A facet's number and the values under its two keys: equal exactly when the facet's value is equal."""

_encode = msgspec.json.Encoder().encode


class Entry(Struct, frozen=True):
    """A row of `facets` that is to be, with the `terms` it is found by."""

    facet: int
    digest: bytes
    value: str
    terms: tuple[bytes, ...]


def signatures(meta: MetaMap | None) -> tuple[Signature | None, Signature | None, Signature | None]:
    """The signatures of a record's facets in the order of FACETS, None for a facet without any of its keys."""
    if not meta:
        return None, None, None
    get = meta.get
    site = (1, get("site_id"), get("site"))
    group = (2, get("group_id"), get("group"))
    user = (3, get("user_id"), get("user"))
    return (
        None if site[1] is None and site[2] is None else site,
        None if group[1] is None and group[2] is None else group,
        None if user[1] is None and user[2] is None else user,
    )


def entry_of(signature: Signature) -> Entry:
    """The dictionary entry that `signature` stands for."""
    number, *parts = signature
    keys = FACETS[number - 1].keys
    value = {key: values for key, values in zip(keys, parts, strict=True) if values is not None}
    text = _encode(value)
    terms = {term(key) for key in value} | {term(key, name) for key, names in value.items() for name in names}
    return Entry(number, _digest([number, value]), text.decode(), tuple(sorted(terms)))


def term(key: str, value: str | None = None) -> bytes:
    """What stands in `facet_terms` for "has `key`", or for "holds `value` under `key`"."""
    return _digest([key] if value is None else [key, value])


def totals(counted: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Records per facet value, from dictionary entries and how many records have each."""
    result: dict[str, int] = {}
    for text, count in counted:
        for value in {name for names in _decode(text).values() for name in names}:
            result[value] = result.get(value, 0) + count
    return result


_decode = msgspec.json.Decoder(dict[str, list[str]]).decode


def _digest(value: object) -> bytes:
    return hashlib.blake2b(_encode(value), digest_size=16).digest()


class FacetNumbers:
    """The numbers of facet values known to this process: a bounded memory of a dictionary that only ever grows."""

    def __init__(self, limit: int = 100_000) -> None:
        self._limit = limit
        self._known: dict[Signature, int] = {}

    def known(self, wanted: Iterable[Signature]) -> dict[Signature, int]:
        """Those of `wanted` whose numbers are known."""
        memory = self._known
        return {signature: memory[signature] for signature in wanted if signature in memory}

    def learn(self, numbers: Mapping[Signature, int]) -> None:
        """Remember what has become durable."""
        if len(self._known) + len(numbers) > self._limit:
            self._known.clear()
        if len(numbers) <= self._limit:
            self._known.update(numbers)

    def forget(self) -> None:
        """Forget all: the database may have been replaced by another while it was away."""
        self._known = {}


def numbered(
    signed: Sequence[tuple[Signature | None, Signature | None, Signature | None]], numbers: Mapping[Signature, int]
) -> list[tuple[int | None, int | None, int | None]]:
    """The facet columns of many records, from their signatures."""
    look = numbers.get
    return [
        (
            None if site is None else look(site),
            None if group is None else look(group),
            None if user is None else look(user),
        )
        for site, group, user in signed
    ]
