from __future__ import annotations

from collections.abc import Iterator

import pytest

from jobmeter.contract import StoreUnavailable
from jobmeter.store.chunks import CHUNK_BYTES, Chunks


def failing(bodies: int) -> Iterator[bytes]:
    for _ in range(bodies):
        yield b"x" * 1000
    raise StoreUnavailable


def test_no_bodies_are_no_chunks() -> None:
    ends: list[bool] = []
    assert list(Chunks(iter([]), ends.append)) == []
    assert ends == [True]


def test_a_fault_before_the_first_body_is_raised_at_once() -> None:
    ends: list[bool] = []
    with pytest.raises(StoreUnavailable):
        Chunks(failing(0), ends.append)
    assert ends == [False]


def test_a_later_fault_comes_out_and_the_half_chunk_before_it_does_not() -> None:
    ends: list[bool] = []
    chunks = Chunks(failing(200), ends.append)
    assert next(chunks).count(b"\n") == -(-CHUNK_BYTES // 1000)
    with pytest.raises(StoreUnavailable):
        next(chunks)
    assert list(chunks) == []
    assert ends == [False]


def test_a_body_larger_than_a_chunk_goes_out_alone() -> None:
    large = b"y" * (CHUNK_BYTES + 1)
    assert list(Chunks(iter([large, large, b"z"]), lambda _: None)) == [large + b"\n", large + b"\n", b"z\n"]


def test_closing_releases_once() -> None:
    ends: list[bool] = []
    chunks = Chunks(failing(10), ends.append)
    chunks.close()
    chunks.close()
    del chunks
    assert ends == [False]
