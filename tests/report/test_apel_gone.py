"""What the receiver holds after several reports is what the account says, whatever was published before."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from jobmeter.contract import RecordStore
from jobmeter.model.record import Record
from jobmeter.report.apel.fields import MetaField
from jobmeter.report.apel.gone import emptied, has_jobs
from jobmeter.report.apel.message import Form, block, messages
from jobmeter.report.apel.rules import faults
from jobmeter.report.apel.summary import SiteSummary
from jobmeter.store.migrate import upgrade
from jobmeter.store.open import open_store
from tests.report.apel_receiver import Receiver
from tests.report.test_apel_summary import NEWER, NOW, job, summed

assert NEWER.summary_fields is not None
FIELDS = replace(NEWER.summary_fields, optional={"GlobalUserName": MetaField("subject")})
WITH_USERS = replace(NEWER, summary_fields=FIELDS)
HEAD = "APEL-sync-message: v0.1\n"
ROW = "Site: S\nSubmitHost: {}\nNumberOfJobs: {}\nMonth: 3\nYear: 2024\n%%\n"


def test_a_row_that_is_no_more_is_sent_without_jobs() -> None:
    published = [HEAD + ROW.format("a", 2) + ROW.format("b", 1)]
    assert emptied(Form.SYNC, [ROW.format("b", 1)], published) == [ROW.format("a", 0)]
    assert emptied(Form.SYNC, [ROW.format("A", 1), ROW.format("b", 1)], published) == []


def test_a_row_that_was_wider_once_is_the_same_row() -> None:
    now = block(Form.SYNC, {"Site": "S", "SubmitHost": "h" * 300, "NumberOfJobs": 2, "Month": 3, "Year": 2024})
    assert emptied(Form.SYNC, [now], [HEAD + ROW.format("h" * 300, 2)]) == []


def test_what_was_emptied_stays_so() -> None:
    published = [HEAD + ROW.format("a", 0) + ROW.format("b", 1)]
    assert emptied(Form.SYNC, [ROW.format("b", 1)], published) == [ROW.format("a", 0)]


def test_texts_of_another_form_and_single_jobs_are_left_alone() -> None:
    published = [HEAD + ROW.format("a", 2)]
    assert emptied(Form.SUMMARY, [], published) == []
    assert emptied(Form.JOBS, [], published) == []
    assert not has_jobs(Form.JOBS, published)


def test_rows_without_jobs_are_told_from_those_with() -> None:
    assert has_jobs(Form.SYNC, [HEAD + ROW.format("a", 0), HEAD + ROW.format("b", 1)])
    assert not has_jobs(Form.SYNC, [HEAD + ROW.format("a", 0)])


def _published(summary: SiteSummary, before: list[str]) -> list[str]:
    """The texts of a report when the receiver holds those of `before`."""
    found = []
    for form, blocks in ((Form.SUMMARY, summary.blocks), (Form.SYNC, summary.sync)):
        whole = [*blocks, *emptied(form, blocks, before)]
        found += [message.text for message in messages(form, whole, 600)]
    return found


names = st.sampled_from(["x", "X ", "None", "null", "y" * 300, "y" * 299 + "z", "ü" * 90, "a\n%%", " x", "Zoë"])
sets_of_jobs = st.lists(
    st.builds(
        job,
        st.integers(0, 10**6),
        site=st.sampled_from(["a1", "a2"]),
        user=st.sampled_from(["at1", "cm1", "zz"]),
        cores=st.sampled_from([1, 8]),
        cpu=st.integers(0, 10**6),
        headnode=names,
        subject=names,
        collector_type=names,
    ),
    max_size=8,
    unique_by=lambda record: record.record_id,
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(sets_of_jobs, min_size=1, max_size=3))
def test_the_receiver_holds_what_the_account_says_last(
    tmp_path_factory: pytest.TempPathFactory, states: list[list[Record]]
) -> None:
    receiver = Receiver()
    held: list[str] = []
    for records in states:
        url = f"sqlite:///{tmp_path_factory.mktemp('s')}/records.db"
        upgrade(url)
        store = open_store(url)
        try:
            store.put(records)
            held = _published(summed(store, WITH_USERS)["SITE_A"], held)
        finally:
            store.close()
        for text in held:
            assert faults(text, NOW) == []
            receiver.take(text)
        expected = {
            "NumberOfJobs": len(records),
            "WallDuration": sum(record.runtime_seconds or 0 for record in records),
            "CpuDuration": sum(record.components[1].amount for record in records),
        }
        assert receiver.sums() == expected
        assert receiver.counted() == len(records)


def test_names_that_the_receiver_takes_for_one_another_are_one_row(store: RecordStore) -> None:
    store.put([job(1, headnode="CE1"), job(2, headnode="ce1 "), job(3, headnode="None"), job(4, headnode="null")])
    blocks = summed(store)["SITE_A"]
    assert sorted(each.count("NumberOfJobs: 2\n") for each in blocks.blocks) == [1, 1]
    assert sorted(line for each in blocks.sync for line in each.splitlines() if "Host" in line) == [
        "SubmitHost: CE1",
        "SubmitHost: None",
    ]
