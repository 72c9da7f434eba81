from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from jobmeter.contract import StoreUnavailable
from jobmeter.model.access import Grant, Limits, Role
from jobmeter.model.token import Token
from jobmeter.store.tokens import Tokens
from tests.postgresql import PrivatePostgresql

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
GRANTS = (
    Grant(frozenset({Role.WRITE, Role.CORRECT}), Limits(("A", "ü"), ("c",), ("p-",), {"vo": ("x", "y")})),
    Grant(frozenset({Role.MONITOR})),
)


def test_a_token_comes_back_as_it_was_given_and_is_found_by_its_digest(database_url: str) -> None:
    tokens = Tokens(database_url)
    first = tokens.add(Token("a", GRANTS, NOW, NOW + timedelta(days=1), note="n"), b"1" * 32)
    second = tokens.add(Token("a", (), NOW), b"2" * 32)
    assert first.number is not None
    assert second.number is not None
    assert first.number < second.number
    assert tokens.all() == [first, second]
    assert tokens.find(b"1" * 32) == first
    assert tokens.find(b"3" * 32) is None
    assert first.grants == GRANTS
    tokens.close()


def test_revoking_is_told_and_lasts(database_url: str) -> None:
    tokens = Tokens(database_url)
    number = tokens.add(Token("a", (), NOW), b"1").number
    assert number is not None
    ended = tokens.revoke(number, NOW)
    assert ended is not None
    assert not ended.good_at(NOW)
    assert tokens.revoke(number + 1, NOW) is None
    tokens.close()
    again = Tokens(database_url)
    assert again.find(b"1") == ended
    again.close()


def test_a_database_that_is_away_is_told_and_found_again(postgresql: PrivatePostgresql) -> None:
    tokens = Tokens(postgresql.new_database())
    tokens.add(Token("a", (), NOW), b"1")
    postgresql.stop(at_once=True)
    try:
        with pytest.raises(StoreUnavailable):
            tokens.find(b"1")
    finally:
        postgresql.start()
    assert tokens.find(b"1") is not None
    tokens.close()
