"""What the reporter tells the account of its history."""

from __future__ import annotations

from datetime import UTC, datetime

from msgspec.structs import replace

from jobmeter.deliver.outbox import Parcel, State
from jobmeter.model.publication import Fate
from jobmeter.run.apel.reporter import publications_of
from tests.report.test_apel_summary import NEWER

CONFIG = replace(NEWER, messaging=None, site=replace(NEWER.site, sites_to_report={"S": ["a", "b"]}))
MADE = datetime(2026, 1, 2, tzinfo=UTC)


def parcel(*key: str) -> Parcel:
    return Parcel(1, key, 0, 1, "ab", MADE, {"jobs": 5}, State.ACCEPTED, 1, MADE, "77", "", True)


def test_a_month_and_a_day_are_told_with_receipt_digest_and_counts() -> None:
    month, day = publications_of(
        [parcel("apel", "S", "2026-01", "summary"), parcel("apel", "S", "2026-01-05", "jobs")], CONFIG
    )
    assert (month.month, month.day, month.what, month.fate) == ("2026-01", 0, "summary", Fate.ACCEPTED)
    assert (month.receipt, month.digest, month.counts, month.receiver) == ("77", "ab", {"jobs": 5}, "")
    assert month.sites == ("a", "b")
    assert (day.month, day.day, day.what) == ("2026-01", 5, "jobs")


def test_keys_of_another_form_are_left_out() -> None:
    assert publications_of([parcel("other")], CONFIG) == []
