"""The spool's counts per day: they add up, whatever happens to a record, and are told until they were taken."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from jobmeter.deliver.days import RECORD_FORMAT, day_of
from jobmeter.deliver.settings import SpoolSettings
from jobmeter.deliver.spool import Spool
from jobmeter.model.collection import DayCount
from jobmeter.model.outcome import Accepted, Keep, Rejected
from jobmeter.wire.auditor import encode_record
from tests.deliver.material import START, SetClock, batch, record

DAY = date(2024, 3, 1)


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def spool(tmp_path: Path, clock: SetClock) -> Iterator[Spool]:
    with Spool(tmp_path / "spool", SpoolSettings(), clock) as made:
        yield made


def told(spool: Spool) -> dict[date, DayCount]:
    return {count.day: count for _, count in spool.report("s").days}


def test_a_record_belongs_to_the_day_of_its_stop_or_of_its_start_while_it_runs() -> None:
    late = replace(record('"stop_time":"1999-01-01'), stop_time=START + timedelta(days=2))
    assert day_of(RECORD_FORMAT, encode_record(late)) == (date(2024, 3, 3) - date(1970, 1, 1)).days
    running = replace(late, stop_time=None)
    assert day_of(RECORD_FORMAT, encode_record(running)) == (DAY - date(1970, 1, 1)).days
    assert day_of(RECORD_FORMAT, b"no record") is None
    assert day_of("document/1", encode_record(late)) is None


def test_all_that_becomes_of_records_is_counted_on_their_day(spool: Spool, clock: SetClock) -> None:
    clock.move(3 * 86_400)
    first = replace(batch("a", "b", "c", refused=["x", "y"]), ignored={"too short": 3})
    spool.absorb("s", first)
    entries = spool.due(10)
    spool.settle([(entries[0], Accepted()), (entries[1], Rejected("no")), (entries[2], Keep())])
    counts = told(spool)
    assert counts[DAY] == DayCount(DAY, records=3, delivered=1, rejected=1)
    assert counts[DAY].waiting == 1
    read = date(2024, 3, 4)
    assert counts[read] == DayCount(read, refused=2, ignored=3)


def test_what_is_read_again_is_no_second_record(spool: Spool) -> None:
    spool.absorb("s", batch("a", "b"))
    spool.absorb("s", batch("a", "b", "c"))
    assert told(spool)[DAY] == DayCount(DAY, records=3)
    spool.absorb("s", batch("a", "d"), again=True)
    assert told(spool)[DAY] == DayCount(DAY, records=4, again=1)
    assert told(spool)[DAY].waiting == spool.status().entries == 5


def test_a_dead_letter_that_goes_back_waits_again(spool: Spool) -> None:
    spool.absorb("s", batch("a"))
    spool.settle([(entry, Rejected("no")) for entry in spool.due(10)])
    (letter,) = spool.letters(10)
    assert letter.number is not None
    spool.retry([letter.number])
    assert told(spool)[DAY] == DayCount(DAY, records=1)


def test_what_is_lost_is_counted_on_its_day(tmp_path: Path, clock: SetClock) -> None:
    settings = SpoolSettings(max_bytes=1, when_full="drop_oldest")
    with Spool(tmp_path / "spool", settings, clock) as spool:
        spool.absorb("s", batch("a"))
        spool.absorb("s", batch("b"))
        assert told(spool)[DAY] == DayCount(DAY, records=2, dropped=1)


def test_a_report_is_told_until_it_was_taken_and_what_changed_since_is_told_again(spool: Spool) -> None:
    spool.absorb("s", batch("a"))
    report = spool.report("s")
    assert spool.report("s").days == report.days
    spool.settle([(entry, Accepted()) for entry in spool.due(10)])
    spool.reported("s", report)
    again = spool.report("s")
    assert [count for _, count in again.days] == [DayCount(DAY, records=1, delivered=1)]
    spool.reported("s", again)
    assert spool.report("s").days == ()
    assert spool.report("s").spool == report.spool
