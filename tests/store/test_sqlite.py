"""What SQLite alone does: one file, several processes, a full disk, a log that must not grow."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.dialects import sqlite as sqlite_dialect

from jobmeter.contract import StoreUnavailable
from jobmeter.model.outcome import Stored
from jobmeter.model.question import Question
from jobmeter.store.open import open_store
from jobmeter.store.sqlite import SqliteStore
from jobmeter.store.sqlite_sums import Batches
from jobmeter.store.tables import records
from tests.given import ALL, ids, record
from tests.process import started

_WRITER = """
import sys
from jobmeter.store.open import open_store
from tests.given import record
store = open_store(sys.argv[1])
new = 0
for number in range(40):
    new += [answer.value for answer in store.put([record(f"r{number}-{part}") for part in range(5)])].count("new")
print(new)
"""

_FULL = """
import resource, sys
from jobmeter.contract import StoreUnavailable
from jobmeter.store.open import open_store
from tests.given import record
store = open_store(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
stored = 0
try:
    while True:
        store.put([record(f"r{stored}", meta={"k": ("v" * 200,)})])
        stored += 1
except StoreUnavailable:
    print(stored)
"""

_KILLED = """
import sys
from jobmeter.store.open import open_store
from tests.given import record
store = open_store(sys.argv[1])
number = 0
while True:
    store.put([record(f"r{number}-{part}") for part in range(7)])
    number += 1
    print(number, flush=True)
"""


@pytest.fixture
def store(sqlite_url: str) -> Iterator[SqliteStore]:
    opened = open_store(sqlite_url)
    assert isinstance(opened, SqliteStore)
    yield opened
    opened.close()


def test_two_processes_that_put_the_same_records_make_each_once(sqlite_url: str, store: SqliteStore) -> None:
    writers = [started(_WRITER, sqlite_url) for _ in range(2)]
    counts = [int(writer.communicate()[0]) for writer in writers]
    assert sum(counts) == 200
    assert store.counts() == {"": 200}


def test_a_full_disk_is_unavailable_and_loses_nothing_that_was_answered(sqlite_url: str) -> None:
    stored = int(started(_FULL, sqlite_url).communicate()[0])
    assert stored > 0
    store = open_store(sqlite_url)
    assert store.counts() == {"": stored}
    assert store.put([record("after")]) == [Stored.NEW]
    store.close()


def test_a_killed_writer_leaves_whole_batches(sqlite_url: str) -> None:
    writer = started(_KILLED, sqlite_url)
    assert writer.stdout is not None
    while int(writer.stdout.readline()) < 20:
        pass
    writer.send_signal(signal.SIGKILL)
    rest = writer.communicate()[0].split()
    store = open_store(sqlite_url)
    stored = store.counts()[""]
    assert stored % 7 == 0
    assert stored >= 7 * int(rest[-1] if rest else 20)
    store.close()


def test_a_lock_held_by_another_program_is_unavailable(sqlite_url: str) -> None:
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    impatient = SqliteStore(path, busy_seconds=0.05)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="locked"):
        impatient.put([record("a")])
    assert ids(impatient) == []
    other.execute("ROLLBACK")
    other.close()
    assert impatient.put([record("a")]) == [Stored.NEW]
    impatient.close()


def test_the_log_is_folded_back_and_cut(store: SqliteStore, sqlite_url: str) -> None:
    log = Path(sqlite_url.removeprefix("sqlite:///") + "-wal")
    largest = 0
    for number in range(60):
        store.put([record(f"r{number}-{part}", meta={"k": ("v" * 250,) * 40}) for part in range(100)])
        largest = max(largest, log.stat().st_size)
    assert largest < 48 * 1024 * 1024
    store.close()
    assert not log.exists()


def test_an_open_answer_does_not_stop_writers_nor_they_it(store: SqliteStore) -> None:
    store.put([record(f"{number:05}", stop=number, meta={"k": ("v" * 250,)}) for number in range(2000)])
    answer = store.stream(Question(ALL))
    for number in range(20):
        next(answer, None)
        store.put([record(f"late{number}")])
    assert store.counts() == {"": 2020}


def test_a_path_with_odd_characters_is_only_a_path(tmp_path: Path) -> None:
    folder = tmp_path / "a b%20?mode=memory#c"
    folder.mkdir()
    url = f"sqlite:///{folder}/store.sqlite"
    store = open_store(url, migrate=True)
    assert store.put([record()]) == [Stored.NEW]
    store.close()
    assert (folder / "store.sqlite").stat().st_size > 0
    store = open_store(url)
    assert store.counts() == {"": 1}
    store.close()


def test_first_pages_come_from_the_index_without_sorting_rows(store: SqliteStore, sqlite_url: str) -> None:
    connection = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))
    for order in ("ASC NULLS LAST", "DESC NULLS FIRST"):
        plan = connection.execute(
            "EXPLAIN QUERY PLAN SELECT body FROM records WHERE site = 1 AND stop_us >= 1 AND stop_us < 2 "
            f"ORDER BY stop_us {order}, seq LIMIT 100"
        ).fetchall()
        assert "USING INDEX records_stop" in plan[0][3]
        assert "RIGHT PART OF ORDER BY" in plan[1][3]
    connection.close()


def test_pending_records_are_found_by_their_numbers_whatever_else_is_asked(store: SqliteStore, sqlite_url: str) -> None:
    connection = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))
    pending = Batches([1, 2], [(10, 20), (40, 50)]).condition()
    year = (records.c.stop_us >= 1, records.c.stop_us < 2)
    asked = select(records.c.site).where(*year, pending).group_by(records.c.site)
    text = str(asked.compile(dialect=sqlite_dialect.dialect(), compile_kwargs={"literal_binds": True}))
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}")]
    connection.close()
    assert [line for line in plan if line.startswith("SEARCH")] == [
        "SEARCH records USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"
    ] * 2
