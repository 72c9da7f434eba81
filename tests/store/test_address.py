from __future__ import annotations

from pathlib import Path

import pytest

from jobmeter.store.address import shown, sqlite_path


def test_three_slashes_are_a_relative_path_and_four_an_absolute_one() -> None:
    assert sqlite_path("sqlite:///data/store.sqlite") == Path("data/store.sqlite")
    assert sqlite_path("sqlite:////var/lib/store 100%.sqlite?x") == Path("/var/lib/store 100%.sqlite?x")
    assert sqlite_path("postgresql://host/db") is None


@pytest.mark.parametrize(
    ("url", "logged"),
    [
        ("postgresql://me:secret@host:5432/db?sslmode=require&password=secret", "postgresql://host:5432/db"),
        ("postgresql:///db?host=/run", "postgresql:///db"),
        ("postgresql://me:se/cret@host/db", "postgresql://host/db"),
        ("sqlite:////var/store.sqlite", "sqlite:////var/store.sqlite"),
    ],
)
def test_a_logged_address_holds_no_secret(url: str, logged: str) -> None:
    assert shown(url) == logged
