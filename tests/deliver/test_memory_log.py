from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jobmeter.deliver.memory_log import MemoryLog


@given(st.lists(st.tuples(st.integers(1, 60), st.booleans(), st.integers(0, 3)), max_size=60))
def test_what_a_reader_got_and_what_it_is_told_to_have_missed_is_all_that_came(
    steps: list[tuple[int, bool, int]],
) -> None:
    """Entries of any weight, readers that lag or keep up, and entries forgotten between: each is counted once."""
    log = MemoryLog(100)
    readers = [log.reader(1), log.reader(1)]
    told = [0, 0]
    came = 0
    for size, reads, forgets in steps:
        log.append(bytes(size), size)
        came += size
        for place, reader in enumerate(readers):
            if place == 0 or reads:
                taken = reader.take(10**6)
                told[place] += taken.skipped_weight + sum(entry.weight for entry in taken.entries)
        if forgets == 0:
            log.forget(min(reader.number for reader in readers))
    for place, reader in enumerate(readers):
        taken = reader.take(10**6)
        told[place] += taken.skipped_weight + sum(entry.weight for entry in taken.entries)
    assert told == [came, came]


def test_a_place_in_the_middle_misses_only_what_comes_after_it() -> None:
    log = MemoryLog(100)
    for _ in range(3):
        log.append(bytes(30), 7)
    reader = log.reader(3)
    for _ in range(4):
        log.append(bytes(30), 7)
    taken = reader.take(10**6)
    assert (taken.skipped_entries, taken.skipped_weight, len(taken.entries)) == (2, 14, 3)
