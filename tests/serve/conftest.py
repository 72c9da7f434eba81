from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.serve.live import Live, live
from tests.serve.memory import MemoryStore


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[Live, MemoryStore]]:
    """One server for all tests of a module, for those that count nothing; they empty the store themselves."""
    kept = MemoryStore()
    with live(kept) as running:
        yield running, kept


@pytest.fixture
def server(store: MemoryStore) -> Iterator[Live]:
    with live(store) as running:
        yield running
