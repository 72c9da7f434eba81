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
Signature = tuple[Values, Values, Values, Values, Values, Values]
"""The values under the keys of all facets, in the order of FACETS: equal exactly when all facets are."""

Numbers = tuple[int | None, int | None, int | None]
"""The facet columns of a record, in the order of FACETS; None for a facet without any of its keys."""

_encode = msgspec.json.Encoder().encode


class Entry(Struct, frozen=True):
    """A row of `facets` that is to be, with the `terms` it is found by."""

    facet: int
    digest: bytes
    value: str
    terms: tuple[bytes, ...]


def signature_of(meta: MetaMap | None) -> Signature:
    """What decides a record's facets."""
    get = (meta or {}).get
    return get("site_id"), get("site"), get("group_id"), get("group"), get("user_id"), get("user")


def entries_of(signature: Signature) -> tuple[Entry | None, Entry | None, Entry | None]:
    """The dictionary entries of the facets, in the order of FACETS; None for a facet without any of its keys."""
    return _entry(SITE, signature[0:2]), _entry(GROUP, signature[2:4]), _entry(USER, signature[4:6])


def _entry(facet: Facet, parts: Sequence[Values]) -> Entry | None:
    value = {key: values for key, values in zip(facet.keys, parts, strict=True) if values is not None}
    if not value:
        return None
    terms = {term(key) for key in value} | {term(key, name) for key, names in value.items() for name in names}
    return Entry(facet.number, _digest([facet.number, value]), _encode(value).decode(), tuple(sorted(terms)))


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
    """The numbers known to this process: a bounded memory of a dictionary that only ever grows."""

    def __init__(self, limit: int = 100_000) -> None:
        self._limit = limit
        self._known: dict[Signature, Numbers] = {}

    def known(self, wanted: Iterable[Signature]) -> dict[Signature, Numbers]:
        """Those of `wanted` whose numbers are known."""
        memory = self._known
        return {signature: memory[signature] for signature in wanted if signature in memory}

    def learn(self, numbers: Mapping[Signature, Numbers]) -> None:
        """Remember what has become durable."""
        if len(self._known) + len(numbers) > self._limit:
            self._known = {}
        if len(numbers) <= self._limit:
            self._known.update(numbers)

    def forget(self) -> None:
        """Forget all: the database may have been replaced by another while it was away."""
        self._known = {}
