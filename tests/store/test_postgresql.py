"""What happens when the server goes away, comes back, hangs, or fills up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest

from jobmeter.contract import RecordStore, StoreUnavailable
from jobmeter.model.outcome import Stopped, Stored
from jobmeter.model.question import MetaCondition, Question
from jobmeter.model.record import RecordStop
from jobmeter.store.open import open_store
from jobmeter.store.postgresql import PostgresqlStore
from tests.given import ALL, ids, lines, record, second
from tests.postgresql import PrivatePostgresql


@pytest.fixture
def store(postgresql_url: str) -> Iterator[RecordStore]:
    opened = open_store(postgresql_url)
    yield opened
    opened.close()


def _asks(store: RecordStore) -> list[Callable[[], object]]:
    return [
        lambda: store.put([record("late", meta={"site": ("new",)})]),
        lambda: store.stop([RecordStop("a", second(20))]),
        lambda: store.one("a", ALL),
        lambda: lines(store, Question(ALL)),
        lambda: store.bury([]),
        lambda: store.letters(1),
        store.counts,
        store.ping,
    ]


@pytest.mark.parametrize("at_once", [False, True])
def test_a_restart_of_the_server_is_survived(store: RecordStore, postgresql: PrivatePostgresql, at_once: bool) -> None:
    assert store.put([record("a", meta={"site": ("A",)})]) == [Stored.NEW]
    assert ids(store) == ["a"]
    postgresql.stop(at_once=at_once)
    try:
        for ask in _asks(store):
            with pytest.raises(StoreUnavailable):
                ask()
    finally:
        postgresql.start()
    for ask in _asks(store):
        ask()
    assert store.put([record("b", stop=30, meta={"site": ("A",)})]) == [Stored.NEW]
    assert ids(store, meta=(MetaCondition("site", ("A",)),)) == ["a", "b"]


def test_a_restart_between_two_questions_is_not_even_noticed(store: RecordStore, postgresql: PrivatePostgresql) -> None:
    store.put([record("a")])
    ids(store)
    postgresql.stop()
    postgresql.start()
    assert store.put([record("b", stop=20)]) == [Stored.NEW]
    assert ids(store) == ["a", "b"]


def test_a_fault_in_the_middle_of_an_answer_comes_out_of_the_iterator(
    store: RecordStore, postgresql: PrivatePostgresql
) -> None:
    store.put([record(f"{number:05}", stop=number, meta={"k": ("v" * 250,)}) for number in range(8000)])
    answer = store.stream(Question(ALL))
    next(answer)
    postgresql.stop(at_once=True)
    try:
        with pytest.raises(StoreUnavailable):
            for _ in answer:
                pass
        assert list(answer) == []
    finally:
        postgresql.start()
    assert len(ids(store)) == 8000


def test_a_server_that_is_away_at_the_start_is_found_later(postgresql: PrivatePostgresql) -> None:
    url = postgresql.new_database()
    postgresql.stop()
    try:
        store = open_store(url)
        with pytest.raises(StoreUnavailable):
            store.ping()
        with pytest.raises(StoreUnavailable):
            open_store(url, migrate=True)
    finally:
        postgresql.start()
    store.ping()
    assert store.put([record()]) == [Stored.NEW]
    store.close()


def test_a_ping_does_not_wait_for_a_server_that_hangs(store: RecordStore, postgresql: PrivatePostgresql) -> None:
    store.ping()
    store.put([record()])
    postgresql.suspend()
    start = time.monotonic()
    try:
        with pytest.raises(StoreUnavailable):
            store.ping()
        assert time.monotonic() - start < 25, "sooner than a statement is given up"
    finally:
        postgresql.resume()
    store.ping()


def test_a_server_that_only_reads_is_unavailable_for_writes(store: RecordStore, postgresql_url: str) -> None:
    with psycopg.connect(postgresql_url, autocommit=True) as connection:
        database = connection.info.dbname
        connection.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on".encode())
    read_only = open_store(postgresql_url)
    with pytest.raises(StoreUnavailable):
        read_only.put([record()])
    assert ids(read_only) == []
    read_only.close()


def test_a_statement_that_a_lock_keeps_for_too_long_is_given_up(store: RecordStore, postgresql_url: str) -> None:
    store.put([record("a", stop=None)])
    with psycopg.connect(postgresql_url) as connection:
        connection.execute("LOCK TABLE records")
        waiting = threading.Event()
        outcome: list[object] = []

        def stop() -> None:
            waiting.set()
            try:
                outcome.append(store.stop([RecordStop("a", second(20))]))
            except StoreUnavailable as fault:
                outcome.append(fault)

        thread = threading.Thread(target=stop)
        thread.start()
        waiting.wait()
        with psycopg.connect(postgresql_url, autocommit=True) as other:
            while not other.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchone():
                time.sleep(0.01)
            other.execute("SELECT pg_cancel_backend(pid) FROM pg_locks WHERE NOT granted")
        thread.join()
    assert isinstance(outcome[0], StoreUnavailable)
    assert store.stop([RecordStop("a", second(20))]) == [Stopped.DONE]


def test_the_connections_of_one_store_are_bounded(postgresql_url: str) -> None:
    store = PostgresqlStore(postgresql_url, writers=1, readers=1, wait_seconds=0.05)
    store.put([record("a"), record("b")])
    answer = store.stream(Question(ALL))
    with pytest.raises(StoreUnavailable, match="all 1 database connections are in use"):
        store.stream(Question(ALL))
    assert store.counts() == {"": 2}
    assert b"".join(answer).count(b"\n") == 2
    assert len(ids(store)) == 2
    store.close()


def test_a_replaced_database_is_not_taken_for_the_old_one(postgresql: PrivatePostgresql) -> None:
    """A backup was put back: dictionary numbers that this process remembers may mean something else there."""
    url = postgresql.new_database()
    store = open_store(url)
    store.put([record("a", meta={"site": ("A",)})])
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("TRUNCATE records, facets, facet_terms RESTART IDENTITY")
        others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        connection.execute(f"SELECT pg_terminate_backend(pid) {others}".encode())
        while connection.execute(f"SELECT 1 {others}".encode()).fetchone():
            time.sleep(0.01)
    store.put([record("b", meta={"site": ("B",)})])
    store.put([record("a", meta={"site": ("A",)})])
    assert ids(store, meta=(MetaCondition("site", ("A",)),)) == ["a"]
    store.close()


def test_writes_are_durable_whatever_the_servers_default(postgresql_url: str) -> None:
    # The private server of the tests runs with synchronous_commit = off.
    store = PostgresqlStore(postgresql_url)
    rows = store._ask("SELECT current_setting('synchronous_commit'), current_setting('statement_timeout')")
    assert rows == [("on", "30s")]
    store.close()
