from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobmeter.deliver.retry import Backoff
from jobmeter.deliver.settings import BackoffSettings

SETTINGS = BackoffSettings(first_seconds=2, longest_seconds=60, asked_longest_seconds=600)


@pytest.mark.parametrize(("failures", "bound"), [(1, 2), (2, 4), (3, 8), (5, 32), (6, 60), (7, 60), (10**9, 60)])
def test_the_bound_doubles_with_each_failure_up_to_the_longest(failures: int, bound: float) -> None:
    assert Backoff(SETTINGS, lambda: 1.0).delay_seconds(failures) == bound


def test_jitter_reaches_down_to_no_wait_at_all() -> None:
    assert Backoff(SETTINGS, lambda: 0.0).delay_seconds(5) == 0


def test_the_receivers_delay_is_a_lower_bound() -> None:
    assert Backoff(SETTINGS, lambda: 0.0).delay_seconds(1, asked_seconds=30) == 30
    assert Backoff(SETTINGS, lambda: 1.0).delay_seconds(6, asked_seconds=30) == 60


def test_a_receiver_cannot_ask_for_a_year() -> None:
    assert Backoff(SETTINGS, lambda: 1.0).delay_seconds(1, asked_seconds=3e7) == 600


@given(st.integers(1, 10_000), st.floats(0, 1e12), st.integers())
def test_every_delay_lies_within_the_bounds(failures: int, asked: float, seed: int) -> None:
    delay = Backoff(SETTINGS, random.Random(seed).random).delay_seconds(failures, asked)
    assert min(asked, 600) <= delay <= max(60, min(asked, 600))
