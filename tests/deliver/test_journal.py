"""The log of a gatherer and of a node, on disk and in memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from jobmeter.deliver.fault import SpoolTooNew
from jobmeter.deliver.journal import Journal
from jobmeter.deliver.log import Log, Reader
from jobmeter.deliver.memory_log import MemoryLog
from tests.deliver.test_full_disk import files_at_most

BIG = 2**30


def rest(reader: Reader) -> list[int]:
    """The numbers of all entries after a place."""
    numbers = []
    while (taken := reader.take(10)).entries:
        numbers += [entry.number for entry in taken.entries]
    return numbers


@pytest.fixture(params=["journal", "memory"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[int], Log]:
    if request.param == "memory":
        return MemoryLog
    return lambda size: Journal(tmp_path / "journal", size)


def test_two_readers_get_everything_at_their_own_pace(make: Callable[[int], Log]) -> None:
    log = make(BIG)
    fast, slow = log.reader(1), log.reader(1)
    for number in range(1, 51):
        assert log.append(b"%d" % number * 100, 3) == number
        log.sync()
        assert [entry.body for entry in fast.take(3).entries] == [b"%d" % number * 100]
    assert [entry.number for entry in slow.take(9).entries] == [1, 2, 3]
    assert rest(slow) == list(range(4, 51))
    assert rest(fast) == []
    log.close()


def test_beyond_its_bound_the_oldest_go_and_the_reader_counts_them(make: Callable[[int], Log]) -> None:
    log = make(1_000_000)
    early, current = log.reader(1), log.reader(1)
    for _ in range(2000):
        log.append(bytes(2000), 7)
        current.take(100)
    assert log.size_bytes <= 1_000_000 + 130_000
    taken = early.take(10)
    assert taken.skipped_entries > 1000
    assert taken.skipped_weight == 7 * taken.skipped_entries
    assert [taken.entries[0].number, *rest(early)][-1] == 2000
    assert taken.entries[0].number == taken.skipped_entries + 1
    assert current.number == 2001
    log.close()


def test_what_nobody_wants_is_forgotten(make: Callable[[int], Log]) -> None:
    log = make(1_000_000)
    for _ in range(300):
        log.append(bytes(2000), 1)
    log.forget(301)
    assert log.size_bytes < 130_000
    assert log.append(b"x", 1) == 301
    assert rest(log.reader(301)) == [301]
    log.close()


def test_waiting_ends_with_the_entry(make: Callable[[int], Log]) -> None:
    log = make(BIG)
    assert not log.wait(1, 0.01)
    log.append(b"x", 1)
    assert log.wait(1, 10)
    log.close()


def test_a_journal_goes_on_where_it_was(tmp_path: Path) -> None:
    log = Journal(tmp_path, 1_000_000)
    for _ in range(100):
        log.append(bytes(3000), 2)
    log.close()
    again = Journal(tmp_path, 1_000_000)
    assert again.append(b"y", 2) == 101
    assert rest(again.reader(90)) == list(range(90, 102))
    again.close()


@pytest.mark.parametrize("lost", [1, 5, 11, 12, 13, 30])
def test_a_half_written_entry_is_cut_off(tmp_path: Path, lost: int) -> None:
    log = Journal(tmp_path, BIG)
    for number in range(3):
        log.append(b"entry %d, of some length" % number, 1)
    log.close()
    (file,) = tmp_path.glob("*.log")
    os.truncate(file, file.stat().st_size - lost)
    again = Journal(tmp_path, BIG)
    assert again.next_number == 3
    assert again.append(b"new", 1) == 3
    assert [entry.body for entry in again.reader(2).take(100).entries] == [b"entry 1, of some length", b"new"]
    again.close()


def test_a_damaged_entry_costs_its_segment_only(tmp_path: Path) -> None:
    log = Journal(tmp_path, 8 * 2**20)
    reader = log.reader(1)
    for _ in range(3000):
        log.append(bytes(1000), 1)
    files = sorted(tmp_path.glob("*.log"))
    assert len(files) > 2
    with files[1].open("r+b") as stream:
        stream.seek(500_000)
        stream.write(b"\xff" * 10)
    numbers, skipped = [], 0
    while True:
        taken = reader.take(100)
        skipped += taken.skipped_entries
        numbers += [entry.number for entry in taken.entries]
        if reader.number == 3001:
            break
    assert skipped + len(numbers) == 3000
    assert 100 < skipped < 1100
    assert numbers[-1] == 3000
    log.close()


def test_no_room_is_told_and_nothing_is_half_there(tmp_path: Path) -> None:
    log = Journal(tmp_path, BIG)
    with files_at_most(100_000):
        with pytest.raises(OSError, match=r"large|space"):
            for _ in range(1000):
                log.append(bytes(3000), 1)
        reached = log.next_number
        assert reached > 20
        with pytest.raises(OSError, match=r"large|space"):
            log.append(bytes(3000), 1)
    assert log.append(b"there is room again", 1) == reached
    assert rest(log.reader(1)) == list(range(1, reached + 1))
    log.close()


def test_a_journal_of_another_release_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / f"{1:020}.log").write_bytes(b"JMLOG 7\nwhatever")
    with pytest.raises(SpoolTooNew):
        Journal(tmp_path, BIG)


def test_a_file_that_was_never_begun_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / f"{5:020}.log").write_bytes(b"")
    log = Journal(tmp_path, BIG)
    assert log.append(b"x", 1) == 5
    log.close()
