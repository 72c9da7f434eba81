from __future__ import annotations

from jobmeter.model.letter import DeadLetter
from jobmeter.store.letterbox import Bounds
from jobmeter.store.open import open_store
from jobmeter.store.postgresql import PostgresqlStore
from jobmeter.store.sqlite import SqliteStore
from tests.given import second


def test_the_oldest_letters_go_and_are_counted_and_long_ones_are_cut(database_url: str) -> None:
    store = open_store(database_url, bounds=Bounds(letters=3, body_bytes=4))
    assert isinstance(store, SqliteStore | PostgresqlStore)
    assert store.letters_evicted() == 0
    for number in range(5):
        store.bury([DeadLetter(f"o{number}", "r" * 2000, b"123456", second(0), 6)])
    assert [letter.origin for letter in store.letters(10)] == ["o4", "o3", "o2"]
    assert store.letters(1)[0].body == b"1234"
    assert store.letters(1)[0].size_bytes == 6
    assert len(store.letters(1)[0].reason) == 1000
    assert store.letters_evicted() == 2
    store.bury([DeadLetter("many", "r", b"", second(0), 0)] * 4)
    assert [letter.origin for letter in store.letters(10)] == ["many"] * 3
    assert store.letters_evicted() == 6
    store.close()
