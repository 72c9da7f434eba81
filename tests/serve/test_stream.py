from __future__ import annotations

import http.client
import json
import socket

import pytest

from jobmeter.serve.settings import Limits, ServeSettings
from jobmeter.wire.auditor import decode_record
from tests.process import PATIENCE_SECONDS
from tests.serve.live import Live, live, record, until
from tests.serve.memory import MemoryStore

BROKEN = "jobmeter_streams_broken_total"


def fill(store: MemoryStore, count: int, note: str = "x") -> None:
    store.put(
        [decode_record(json.dumps(record(f"r{number:07d}", meta={"note": [note]})).encode()) for number in range(count)]
    )


def ids(lines: bytes) -> list[str]:
    return [json.loads(line)["record_id"] for line in lines.splitlines()]


def test_records_come_as_lines_in_a_chunked_json_answer(server: Live, store: MemoryStore) -> None:
    fill(store, 250)
    answer = server.ask("GET", "/records", headers={})
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.headers["transfer-encoding"] == "chunked"
    assert ids(answer.body) == list(store.records)


def test_no_records_are_an_empty_body(server: Live) -> None:
    answer = server.ask("GET", "/records?")
    assert (answer.status, answer.body) == (200, b"")


def test_the_query_string_is_applied(server: Live, store: MemoryStore) -> None:
    fill(store, 10)
    assert ids(server.ask("GET", "/records?record_id=r0000003").body) == ["r0000003"]
    assert len(ids(server.ask("GET", "/records?limit=4").body)) == 4


@pytest.mark.parametrize("query", ["foo=1", "limit=-1", "runtime[eq]=1", "start_time[gt]=yesterday", "meta[k][is]=v"])
def test_a_question_that_is_not_understood_is_a_400(server: Live, query: str) -> None:
    answer = server.ask("GET", f"/records?{query}")
    assert (answer.status, answer.headers["content-type"]) == (400, "application/json")
    assert answer.json()["error"]


@pytest.mark.parametrize("agent", ["auditor/0.4.0", "auditor/0.5.0", "auditor-client/0.6.3", "auditor-client/0.8.0"])
def test_old_clients_get_an_array(server: Live, store: MemoryStore, agent: str) -> None:
    assert server.ask("GET", "/records", headers={"user-agent": agent}).json() == []
    fill(store, 2500)
    listed = server.ask("GET", "/records", headers={"user-agent": agent, "accept": "*/*"}).json()
    assert [one["record_id"] for one in listed] == list(store.records)


@pytest.mark.parametrize(
    "headers",
    [
        {"user-agent": "auditor-client/0.9.4", "accept": "*/*"},
        {"user-agent": "auditor-client/0.11.2", "accept": "*/*"},
        {},
        {"accept": "application/json, text/plain, */*"},
        {"accept": "text/html"},
    ],
)
def test_everyone_else_gets_lines(server: Live, store: MemoryStore, headers: dict[str, str]) -> None:
    fill(store, 3)
    assert len(ids(server.ask("GET", "/records", headers=headers).body)) == 3


def test_an_array_can_be_asked_for(server: Live, store: MemoryStore) -> None:
    fill(store, 3)
    assert len(server.ask("GET", "/records", headers={"accept": "application/json"}).json()) == 3


def test_lines_can_be_asked_for(server: Live, store: MemoryStore) -> None:
    fill(store, 3)
    answer = server.ask("GET", "/records", headers={"accept": "application/x-ndjson, application/json"})
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert len(ids(answer.body)) == 3


def test_a_database_that_is_away_is_told_before_the_first_byte(server: Live, store: MemoryStore) -> None:
    store.away = True
    answer = server.ask("GET", "/records")
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert answer.json()["error"] == "the database is away"


def test_a_fault_in_the_first_chunk_is_told_before_the_first_byte(server: Live, store: MemoryStore) -> None:
    fill(store, 10)
    store.breaks_after = 0
    assert server.ask("GET", "/records").status == 503


def test_a_fault_in_the_middle_breaks_the_connection(server: Live, store: MemoryStore) -> None:
    fill(store, 5000)
    store.breaks_after = 40
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        server.ask("GET", "/records")
    assert server.metric(f'{BROKEN}{{cause="store"}}') == 1
    assert store.released.is_set()
    store.breaks_after = None
    assert len(ids(server.ask("GET", "/records").body)) == 5000


def test_a_fault_in_the_middle_is_a_reset_also_for_readers_that_know_no_chunks(
    server: Live, store: MemoryStore
) -> None:
    fill(store, 5000)
    store.breaks_after = 40
    with server.raw() as connection:
        connection.sendall(b"GET /records HTTP/1.0\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            while connection.recv(65536):
                pass


def test_a_reader_that_goes_away_releases_the_store(server: Live, store: MemoryStore) -> None:
    fill(store, 20_000, "x" * 250)  # more than the kernel takes for a reader that does not read
    with server.raw() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(b"GET /records HTTP/1.1\r\nhost: t\r\n\r\n")
        connection.recv(1000)
        assert not store.released.is_set()
    assert store.released.wait(PATIENCE_SECONDS)
    until(lambda: server.metric(f'{BROKEN}{{cause="reader gone"}}') == 1)


def test_a_reader_that_stops_reading_is_cut_off(store: MemoryStore) -> None:
    fill(store, 20_000, "x" * 250)
    with live(store, ServeSettings(limits=Limits(reader_seconds=0.3))) as server, server.raw() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(b"GET /records HTTP/1.1\r\nhost: t\r\n\r\n")
        assert store.released.wait(PATIENCE_SECONDS)
        until(lambda: server.metric(f'{BROKEN}{{cause="reader too slow"}}') == 1)


def test_a_reader_that_stops_at_the_end_is_cut_off_too(store: MemoryStore) -> None:
    fill(store, 300, "x" * 250)
    limits = Limits(request_seconds=1, keep_alive_seconds=1)
    with live(store, ServeSettings(limits=limits)) as server, socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(b"GET /records HTTP/1.1\r\nhost: t\r\n\r\n")
        assert store.released.wait(PATIENCE_SECONDS)


def test_only_so_many_lists_are_sent_at_a_time(store: MemoryStore) -> None:
    fill(store, 20_000, "x" * 250)
    with live(store, ServeSettings(limits=Limits(streams=1))) as server:
        with server.raw() as connection:
            connection.sendall(b"GET /records HTTP/1.1\r\nhost: t\r\n\r\n")
            connection.recv(1000)
            assert server.ask("GET", "/records?limit=1").status == 503
        until(lambda: server.ask("GET", "/records?limit=1").status == 200)
