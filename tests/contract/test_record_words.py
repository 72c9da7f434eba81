"""Conditions on meta find exactly the records that hold the words, however JSON spells these, over both databases."""

from __future__ import annotations

from jobmeter.contract import RecordStore
from jobmeter.model.question import MetaCondition, Rule, Scope
from tests.given import ALL, ids, record

WORDS = (
    "a",
    "A",
    "/atlas/Role=x",
    "ä",
    "'",
    '"',
    "\\",
    "a.b",
    "%s",
    "\x01",
    "\x7f",
    "a b",
    "<",
    'b\\"',
    "null",
    "\u2028",
)


def test_every_word_is_found_as_key_and_as_value(store: RecordStore) -> None:
    named = {(key, value): f"{i}-{j}" for i, key in enumerate(WORDS) for j, value in enumerate(WORDS)}
    store.put([record(name, meta={key: (value, "z")}) for (key, value), name in named.items()])
    for (key, value), name in named.items():
        assert ids(store, ALL, meta=(MetaCondition(key, (value, "z"), ()),)) == [name]
    for key in WORDS:
        assert len(ids(store, ALL, meta=(MetaCondition(key, (), ("a",)),))) == len(WORDS) - 1
        assert len(ids(store, Scope(((Rule(key, ("a", '"')),),)))) == 2
