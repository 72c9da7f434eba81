from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from jobmeter.contract import JobBatch, Refused
from jobmeter.deliver.fault import SpoolFull
from jobmeter.deliver.settings import SpoolSettings
from jobmeter.deliver.spool import RECORD_FORMAT, Absorbed, Entry, Spool
from jobmeter.model.outcome import Accepted, Keep, Rejected
from jobmeter.wire.auditor import decode_record
from tests.deliver.material import SetClock, batch, record

DAY = 86_400.0
YEAR = 365 * DAY


@dataclass
class Bench:
    """A folder and a clock; `spool` opens the spool in it with some settings."""

    folder: Path
    clock: SetClock
    opened: list[Spool]

    def spool(self, **options: object) -> Spool:
        settings = msgspec.convert({"reserve_bytes": 0, **options}, SpoolSettings)
        self.opened.append(Spool(self.folder / "spool.db", settings, self.clock))
        return self.opened[-1]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path, SetClock(), [])
    yield made
    for spool in made.opened:
        spool.close()


def ids(entries: list[Entry]) -> list[str]:
    return [decode_record(entry.body).record_id for entry in entries]


def reject_all(spool: Spool, reason: str = "no") -> None:
    spool.settle([(entry, Rejected(reason)) for entry in spool.due(1000)])


def test_records_come_out_as_they_went_in(bench: Bench) -> None:
    spool = bench.spool()
    assert spool.absorb("s", batch("a", "b")) == Absorbed(queued=2, repeated=0, buried=0)
    entries = spool.due(10)
    assert [decode_record(entry.body) for entry in entries] == [record("a"), record("b")]
    assert {(entry.source, entry.format, entry.attempts) for entry in entries} == {("s", RECORD_FORMAT, 0)}


def test_the_cursor_moves_with_its_records(bench: Bench) -> None:
    spool = bench.spool()
    assert spool.cursor("s") is None
    spool.absorb("s", batch("a", cursor="1"))
    spool.absorb("s", batch("b", cursor="2"))
    spool.absorb("t", batch("c", cursor="9"))
    assert (spool.cursor("s"), spool.cursor("t")) == ("2", "9")


def test_an_empty_cursor_leaves_the_stored_one(bench: Bench) -> None:
    spool = bench.spool()
    spool.absorb("s", batch("a", cursor="1"))
    spool.absorb("s", batch("b", cursor=""))
    assert spool.cursor("s") == "1"


def test_reading_an_overlapping_time_again_queues_only_what_is_new_or_changed(bench: Bench) -> None:
    spool = bench.spool()
    spool.absorb("s", batch("a", "b"))
    assert spool.absorb("s", batch("a", "b", "c")) == Absorbed(1, 2, 0)
    assert spool.absorb("s", batch("a", cores=2)) == Absorbed(1, 0, 0)
    assert ids(spool.due(10)) == ["a", "b", "c", "a"]


def test_where_the_first_version_counts_a_changed_record_is_a_repeat(bench: Bench) -> None:
    spool = bench.spool()
    first = msgspec.structs.replace(batch("a"), first_counts=True)
    (changed,) = batch("a").records
    changed = msgspec.structs.replace(changed, meta={"changed": ("yes",)})
    assert spool.absorb("s", first) == Absorbed(queued=1, repeated=0, buried=0)
    later = msgspec.structs.replace(first, records=(changed, *batch("b").records))
    assert spool.absorb("s", later) == Absorbed(queued=1, repeated=1, buried=0)
    assert spool.absorb("s", msgspec.structs.replace(first, records=(changed,) * 2)) == Absorbed(0, 2, 0)
    assert ids(spool.due(10)) == ["a", "b"]


def test_a_record_twice_in_one_batch_is_queued_once(bench: Bench) -> None:
    assert bench.spool().absorb("s", batch("a", "a")) == Absorbed(1, 1, 0)


def test_two_sources_may_use_the_same_record_id(bench: Bench) -> None:
    spool = bench.spool()
    spool.absorb("s", batch("a"))
    assert spool.absorb("t", batch("a")).queued == 1


def test_a_delivered_record_is_still_known(bench: Bench) -> None:
    spool = bench.spool()
    spool.absorb("s", batch("a"))
    spool.settle([(entry, Accepted()) for entry in spool.due(10)])
    assert spool.absorb("s", batch("a")).queued == 0


def test_known_records_are_queued_again_on_request(bench: Bench) -> None:
    spool = bench.spool()
    spool.absorb("s", batch("a"))
    assert spool.absorb("s", batch("a", "b"), again=True) == Absorbed(2, 0, 0)
    assert spool.absorb("s", batch("b")).queued == 0


def test_what_was_seen_is_forgotten_some_days_after_it_was_last_collected(bench: Bench) -> None:
    spool = bench.spool(seen_days=3)
    spool.absorb("s", batch("old", "again"))
    for _ in range(5):
        bench.clock.move(0.9 * DAY)
        spool.absorb("s", batch("again"))
    assert spool.absorb("s", batch("again")).queued == 0
    assert spool.absorb("s", batch("old")).queued == 1


def test_refused_entries_become_dead_letters_once(bench: Bench) -> None:
    spool = bench.spool()
    assert spool.absorb("s", batch("a", refused=["x|y", "z"])).buried == 2
    assert spool.absorb("s", batch("a", refused=["x|y", "z"])).buried == 0
    newest, older = spool.letters(10)
    assert (newest.origin, newest.reason, newest.body, newest.size_bytes) == ("s", "is odd", b"z", 1)
    assert newest.received == bench.clock.now()
    assert (older.body, older.number) == (b"x|y", 1)
    assert [letter.number for letter in spool.letters(10, before=2)] == [1]
    assert [letter.number for letter in spool.letters(1)] == [2]


def test_a_large_refused_entry_is_cut_and_says_its_size(bench: Bench) -> None:
    spool = bench.spool(letter_bytes=4)
    spool.absorb("s", batch(refused=["123456789"]))
    [letter] = spool.letters(10)
    assert (letter.body, letter.size_bytes) == (b"1234", 9)


def test_undecodable_text_is_kept_byte_for_byte(bench: Bench) -> None:
    spool = bench.spool()
    odd = b"caf\xe9".decode("utf-8", "surrogateescape")
    spool.absorb("s", JobBatch((), (Refused(odd, f"has {odd}"), Refused("\ud800", "?")), "c", 2, {}))
    high, escaped = spool.letters(10)
    assert escaped.body == b"caf\xe9"
    assert escaped.reason == "has caf\\udce9"
    assert high.body == b"\xed\xa0\x80"


def test_a_record_that_has_no_encoding_stops_no_other(bench: Bench) -> None:
    spool = bench.spool()
    odd = record(b"caf\xe9".decode("utf-8", "surrogateescape"))
    absorbed = spool.absorb("s", JobBatch((record("a"), odd, record("b")), (), "c", 3, {}))
    assert absorbed == Absorbed(2, 0, 1)
    assert "no Unicode" in spool.letters(1)[0].reason
    assert spool.cursor("s") == "c"


def test_entries_taken_are_not_given_out_twice(bench: Bench) -> None:
    spool, other = bench.spool(), bench.spool()
    spool.absorb("s", batch("a", "b", "c"))
    assert ids(spool.due(2)) == ["a", "b"]
    assert ids(other.due(2)) == ["c"]
    assert spool.due(2) == []


def test_entries_of_a_deliverer_that_died_come_back_after_the_lease(bench: Bench) -> None:
    spool = bench.spool(lease_seconds=60)
    spool.absorb("s", batch("a"))
    spool.due(1)
    assert spool.next_due_seconds() == 60
    bench.clock.move(59)
    assert spool.due(1) == []
    bench.clock.move(1)
    assert [entry.attempts for entry in spool.due(1)] == [1]


def test_accepted_entries_are_gone_and_kept_ones_wait(bench: Bench) -> None:
    spool = bench.spool()
    spool.absorb("s", batch("a", "b"))
    first, second = spool.due(10)
    spool.settle([(first, Accepted()), (second, Keep(delay_seconds=10))])
    assert spool.status().entries == 1
    assert spool.next_due_seconds() == 10
    bench.clock.move(10)
    assert ids(spool.due(10)) == ["b"]


def test_an_empty_spool_has_nothing_due(bench: Bench) -> None:
    spool = bench.spool()
    assert spool.next_due_seconds() is None
    assert spool.due(10) == []


def test_settling_what_another_has_settled_changes_nothing(bench: Bench) -> None:
    spool = bench.spool(lease_seconds=1)
    spool.absorb("s", batch("a"))
    first = spool.due(1)
    bench.clock.move(1)
    second = spool.due(1)
    spool.settle([(second[0], Accepted())])
    spool.settle([(first[0], Rejected("late"))])
    spool.settle([(first[0], Keep())])
    status = spool.status()
    assert (status.entries, status.entries_bytes, status.letters, status.counters["delivered"]) == (0, 0, 0, 1)


def test_rejected_entries_become_dead_letters_and_can_be_tried_again(bench: Bench) -> None:
    spool = bench.spool()
    spool.absorb("s", batch("a", "b", refused=["x"]))
    reject_all(spool, "conflict")
    letters = spool.letters(10)
    assert [(letter.number, letter.reason) for letter in letters] == [(3, "conflict"), (2, "conflict"), (1, "is odd")]
    assert [decode_record(letter.body).record_id for letter in letters[:2]] == ["b", "a"]
    assert spool.retry([1, 2, 77]) == [2]
    assert [letter.number for letter in spool.letters(10)] == [3, 1]
    [entry] = spool.due(10)
    assert (entry.body, entry.attempts, entry.source) == (letters[1].body, 0, "s")


def test_discarded_letters_are_counted(bench: Bench) -> None:
    spool = bench.spool()
    spool.absorb("s", batch(refused=["x", "y"]))
    assert spool.discard([1, 99]) == 1
    assert spool.status().letters == 1
    assert spool.status().counters["discarded"] == 1


def test_the_oldest_letters_go_when_there_are_too_many_and_are_counted(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    spool = bench.spool(letters_max=3)
    with caplog.at_level(logging.ERROR, logger="jobmeter"):
        spool.absorb("s", batch(refused=["1", "2", "3", "4", "5"]))
    assert [letter.body for letter in spool.letters(10)] == [b"5", b"4", b"3"]
    assert spool.status().counters["evicted"] == 2
    assert "spool.lost cause=evicted entries=2" in caplog.text


def test_an_entry_that_spoils_its_group_is_soon_alone(bench: Bench) -> None:
    spool = bench.spool()
    spool.absorb("s", batch(*(f"r{number:02}" for number in range(64))))
    delivered: set[str] = set()
    for _ in range(40):
        bench.clock.move(400)
        entries = spool.due(64)
        if "r41" in ids(entries):
            spool.settle([(entry, Keep()) for entry in entries])
        else:
            delivered.update(ids(entries))
            spool.settle([(entry, Accepted()) for entry in entries])
    assert len(delivered) == 63
    assert ids(spool.due(64)) == ["r41"]


def test_a_full_spool_stops_collecting_and_moves_no_cursor(bench: Bench) -> None:
    spool = bench.spool(max_bytes=1000)
    spool.absorb("s", batch("a", "b", cursor="1"))
    with pytest.raises(SpoolFull, match="2 records wait for delivery"):
        spool.absorb("s", batch("c", "d", "e", "f", refused=["x"], cursor="2"))
    assert spool.cursor("s") == "1"
    status = spool.status()
    assert (status.entries, status.letters, status.counters["collected"]) == (2, 0, 2)
    spool.settle([(entry, Accepted()) for entry in spool.due(10)])
    assert spool.absorb("s", batch("c", "d", "e", "f", cursor="2")).queued == 4


def test_a_full_spool_still_takes_repeats_and_their_cursor(bench: Bench) -> None:
    spool = bench.spool(max_bytes=1)
    spool.absorb("s", batch("a", "b", cursor="1"))
    assert spool.absorb("s", batch("a", cursor="2")).repeated == 1
    assert spool.cursor("s") == "2"


def test_a_batch_larger_than_the_bound_goes_into_an_empty_spool(bench: Bench) -> None:
    assert bench.spool(max_bytes=1).absorb("s", batch("a", "b")).queued == 2


def test_the_oldest_are_dropped_and_counted_where_that_is_wanted(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    spool = bench.spool(max_bytes=1000, when_full="drop_oldest")
    with caplog.at_level(logging.ERROR, logger="jobmeter"):
        for name in "abcdefgh":
            spool.absorb("s", batch(name, cursor=name))
    assert spool.cursor("s") == "h"
    status = spool.status()
    assert status.entries_bytes <= 1000
    kept = ids(spool.due(100))
    assert kept == list("abcdefgh")[-len(kept) :]
    assert status.counters["dropped_size"] == 8 - len(kept) > 0
    assert "spool.lost cause=dropped_size" in caplog.text


def test_what_waited_too_long_is_dropped_and_counted_where_that_is_wanted(bench: Bench) -> None:
    spool = bench.spool(max_age_days=2)
    spool.absorb("s", batch("old"))
    for _ in range(4):
        bench.clock.move(0.6 * DAY)
        spool.absorb("s", batch(f"new {bench.clock.now()}"))
    assert spool.status().counters["dropped_age"] == 1
    assert "old" not in ids(spool.due(10))


def test_collecting_leaves_some_of_the_disk_free(bench: Bench) -> None:
    spool = bench.spool(reserve_bytes=2**62)
    with pytest.raises(SpoolFull, match="free on its disk"):
        spool.absorb("s", batch("a"))


def test_a_clock_set_back_by_a_day_makes_nothing_wait_longer(bench: Bench) -> None:
    spool = bench.spool()
    spool.absorb("s", batch("taken", "kept"))
    taken, kept = spool.due(10)
    spool.settle([(kept, Keep(delay_seconds=30))])
    bench.clock.move(-DAY)
    spool.absorb("s", batch("fresh"))
    assert spool.next_due_seconds() == 0
    assert set(ids(spool.due(10)) + ids(spool.due(10)) + ids(spool.due(10))) == {"fresh", "taken", "kept"}
    assert spool.due(10) == []
    assert taken.number == 1


def test_a_clock_that_was_a_year_ahead_holds_up_nothing(bench: Bench) -> None:
    spool = bench.spool(max_age_days=30, seen_days=30)
    bench.clock.move(YEAR)
    spool.absorb("s", batch("a", "b"))
    spool.settle([(entry, Keep(delay_seconds=3600)) for entry in spool.due(1)])
    bench.clock.move(-YEAR)
    assert set(ids(spool.due(1)) + ids(spool.due(10))) == {"a", "b"}


def test_a_clock_set_ahead_by_a_year_drops_and_forgets_nothing(bench: Bench) -> None:
    spool = bench.spool(max_age_days=5, seen_days=5)
    spool.absorb("s", batch("a"))
    bench.clock.move(YEAR)
    spool.absorb("s", batch("b"))
    assert spool.absorb("s", batch("a")).repeated == 1
    assert sorted(ids(spool.due(10))) == ["a", "b"]
    assert spool.status().counters["dropped_age"] == 0


def test_the_status_tells_numbers_age_and_cursors(bench: Bench) -> None:
    spool = bench.spool()
    assert spool.status().oldest_seconds is None
    spool.absorb("s", JobBatch((record("a"), record("b")), (Refused("x", "?"),), "1", 10, {"state": 4, "site": 3}))
    bench.clock.move(90)
    spool.absorb("s", batch("a"))
    first, _ = spool.due(10)
    spool.settle([(first, Accepted())])
    status = spool.status()
    assert status.counters == {
        **dict.fromkeys(status.counters, 0),
        "seen": 11,
        "ignored": 7,
        "refused": 1,
        "repeated": 1,
        "collected": 2,
        "delivered": 1,
    }
    assert (status.entries, status.letters, status.cursors) == (1, 1, {"s": "c"})
    assert status.oldest_seconds == 90


def test_bodies_are_readable_text_in_the_file(bench: Bench) -> None:
    spool = bench.spool()
    spool.absorb("s", batch("gr\u00fc\u00df\0e"))
    with sqlite3.connect(spool.path) as db:
        kind, body = db.execute("SELECT typeof(body), body FROM entries").fetchone()
    db.close()
    assert kind == "text"
    assert json.loads(body)["record_id"] == "gr\u00fc\u00df\0e"


def test_an_idle_spool_is_not_written_to(bench: Bench) -> None:
    spool = bench.spool()
    spool.absorb("s", batch("a"))
    spool.due(1)
    log = bench.folder / "spool.db-wal"
    before = log.read_bytes()
    for _ in range(5):
        bench.clock.move(1)
        assert spool.due(1) == []
        spool.status()
    assert log.read_bytes() == before
