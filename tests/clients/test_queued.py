"""The real queued client through stops, crashes and an absent database: nothing lost, nothing doubled."""

from __future__ import annotations

import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.clients.client import OURS, VERSIONS, RealClient
from tests.clients.records import component, record, understood
from tests.clients.server import LiveServer
from tests.process import eventually

STOP = "2024-03-01T13:00:00+00:00"
ROUNDS_SECONDS = 3.5
"""A little more than three of the client's sending rounds."""


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def queue(tmp_path: Path) -> Path:
    return tmp_path / "queue.sqlite"


def waiting(queue: Path) -> int:
    """How many writes the client still holds: in the tables of the real one, or in the spool of ours."""
    with closing(sqlite3.connect(queue, timeout=20)) as database:
        names = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
        tables = names & {"inserts", "updates", "entries"}
        assert tables
        return sum(int(database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]) for table in tables)


def some_are_sent(queue: Path) -> None:
    """Return when fewer records wait than now."""
    before = waiting(queue)
    eventually(lambda: waiting(queue) < max(before, 1), "some records are sent")


def assert_stored(server: LiveServer, names: list[str]) -> None:
    assert sorted(item["record_id"] for item in server.records()) == sorted(names)
    assert server.letters() == []


def test_queued_records_and_updates_arrive(own_server: LiveServer, version: str, queue: Path) -> None:
    with RealClient(version, "queued", own_server.port, database=queue) as client:
        client.add(record("a", components=[component("cpu", 8)]))
        client.bulk_insert([record("b"), record("c")])
        eventually(lambda: waiting(queue) == 0, "the records are sent")
        client.update(record("b", stop_time=STOP))
        eventually(lambda: waiting(queue) == 0, "the update is sent")
        assert client.health_check() is True
        assert client.get_single_record("b") == understood(record("b", stop_time=STOP))
        assert len(client.get()) == 3
        client.stop()
    assert_stored(own_server, ["a", "b", "c"])


def test_nothing_is_lost_or_doubled_when_the_server_stops_and_starts(
    own_server: LiveServer, version: str, queue: Path
) -> None:
    names = [f"job-{number:03}" for number in range(30)]
    with RealClient(version, "queued", own_server.port, database=queue) as client:
        for name in names[:10]:
            client.add(record(name))
        eventually(lambda: waiting(queue) == 0, "the first records are sent")
        own_server.stop()
        for name in names[10:20]:
            client.add(record(name))
        client.update(record(names[0], stop_time=STOP))
        time.sleep(ROUNDS_SECONDS)
        assert waiting(queue) == 11
        own_server.start()
        for name in names[20:]:
            client.add(record(name))
        eventually(lambda: waiting(queue) == 0, "the rest is sent")
    assert_stored(own_server, names)
    assert own_server.records("record_id=job-000")[0]["runtime"] == 3600


def test_nothing_is_lost_or_doubled_when_the_server_is_killed_while_it_writes(
    own_server: LiveServer, version: str, queue: Path
) -> None:
    # Ours sends a thousand at a time, the others one.
    group = 20_000 if version == OURS else 1500
    names: list[str] = []
    kills = 0
    with RealClient(version, "queued", own_server.port, database=queue) as client:
        while kills < 3:
            assert len(names) < 20 * group, "all was always sent before the kill"
            if waiting(queue) < 2:
                more = [f"job-{number:06}" for number in range(len(names), len(names) + group)]
                client.bulk_insert([record(name) for name in more])
                names += more
            some_are_sent(queue)
            own_server.stop(signal.SIGKILL)
            kills += waiting(queue) > 0
            own_server.start()
        while waiting(queue):
            some_are_sent(queue)
    assert_stored(own_server, names)


def test_nothing_is_lost_when_the_client_dies_while_the_server_is_away(
    own_server: LiveServer, version: str, queue: Path
) -> None:
    names = [f"job-{number}" for number in range(10)]
    own_server.stop()
    with RealClient(version, "queued", own_server.port, database=queue) as client:
        client.bulk_insert([record(name) for name in names])
    own_server.start()
    with RealClient(version, "queued", own_server.port, database=queue) as client:
        assert client.health_check() is True
        eventually(lambda: waiting(queue) == 0, "what the first client left is sent")
    assert_stored(own_server, names)


@contextmanager
def database_away(server: LiveServer) -> Iterator[None]:
    """Takes the lock that every write to the embedded database needs."""
    (path,) = [
        path for path in server.data.rglob("*") if path.is_file() and path.read_bytes()[:15] == b"SQLite format 3"
    ]
    with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        yield
        database.execute("ROLLBACK")


def test_nothing_is_lost_while_the_database_is_away(own_server: LiveServer, version: str, queue: Path) -> None:
    """The client drops what is answered with any status, so an unanswered connection is what makes it keep a record."""
    names = [f"job-{number}" for number in range(5)]
    with RealClient(version, "queued", own_server.port, database=queue) as client:
        client.add(record("before"))
        eventually(lambda: waiting(queue) == 0, "the first record is sent")
        with database_away(own_server):
            client.bulk_insert([record(name) for name in names])
            client.update(record("before", stop_time=STOP))
            time.sleep(ROUNDS_SECONDS)
            assert waiting(queue) == 6
        eventually(lambda: waiting(queue) == 0, "the rest is sent")
    assert_stored(own_server, ["before", *names])
    assert own_server.records("record_id=before")[0]["runtime"] == 3600
