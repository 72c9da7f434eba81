"""The set of archived ids."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from jobmeter.store.archive.ids import DIGEST_BITS, IdSet, digest_of, packed, unpacked

DIGESTS = st.sets(st.integers(0, 2**DIGEST_BITS - 1), max_size=50)


@given(DIGESTS)
def test_packed_digests_come_back_sorted(digests: set[int]) -> None:
    assert list(unpacked(packed(digests))) == sorted(digests)


def test_many_digests_take_three_bytes_each() -> None:
    chance = random.Random(1)
    digests = {chance.getrandbits(DIGEST_BITS) for _ in range(100_000)}
    assert len(packed(digests)) < 3.05 * len(digests)


def test_every_id_is_found_in_its_files_and_others_nowhere() -> None:
    held = IdSet()
    expected: dict[str, list[int]] = {}
    for number in range(1, 40):
        keys = [f"id-{number}-{each}" for each in range(number)] + ["everywhere"]
        held.add(number, sorted(map(digest_of, keys)))
        for key in keys:
            expected.setdefault(key, []).append(number)
    assert len(held) == sum(map(len, expected.values()))
    for key, numbers in expected.items():
        assert sorted(held.files_of(key)) == numbers
    assert held.files_of("nobody") == []
