from __future__ import annotations

import json
import threading
from urllib.parse import quote

import pytest

from jobmeter.serve.settings import ServeSettings
from tests.serve.live import Live, live, record
from tests.serve.memory import MemoryStore


@pytest.fixture
def store(shared: tuple[Live, MemoryStore]) -> MemoryStore:
    shared[1].clear()
    return shared[1]


@pytest.fixture
def server(shared: tuple[Live, MemoryStore], store: MemoryStore) -> Live:
    return shared[0]


def test_the_health_check_is_empty_and_200_while_the_database_answers(server: Live) -> None:
    answer = server.ask("GET", "/health_check", headers={})
    assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", "0")


def test_the_health_check_is_500_while_the_database_does_not_and_recovers(server: Live, store: MemoryStore) -> None:
    store.away = True
    answer = server.ask("GET", "/health_check")
    assert (answer.status, answer.body) == (500, b"")
    store.away = False
    assert server.ask("GET", "/health_check").status == 200


def test_a_database_that_hangs_fails_the_health_check_and_stops_no_other_read(
    server: Live, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging = threading.Event()
    monkeypatch.setattr(store, "ping", hanging.wait)
    try:
        threads = [threading.Thread(target=server.ask, args=("GET", "/health_check")) for _ in range(12)]
        for thread in threads:
            thread.start()
        assert server.ask("GET", "/record/x").status == 404
        for thread in threads:
            thread.join()
        assert server.ask("GET", "/health_check").status == 500
    finally:
        hanging.set()


@pytest.mark.parametrize("record_id", ["r1", "a/b", "a b", "ü#%?&", "..", "a%2Fb", "/"])
def test_a_record_is_found_by_its_id_however_odd(server: Live, record_id: str) -> None:
    server.post("/record", record(record_id))
    answer = server.ask("GET", "/record/" + quote(record_id, safe=""), headers={})
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    found = answer.json()
    assert list(found) == ["record_id", "meta", "components", "start_time", "stop_time", "runtime"]
    assert (found["record_id"], found["runtime"]) == (record_id, 3600)


def test_an_unknown_id_is_a_404_in_json(server: Live) -> None:
    answer = server.ask("GET", "/record/x")
    assert (answer.status, answer.json()["record_id"]) == (404, "x")


@pytest.mark.parametrize("path", ["%20", "a" * 300, "%ff", "a%00b"])
def test_an_id_that_no_record_can_have_is_a_400(server: Live, path: str) -> None:
    answer = server.ask("GET", f"/record/{path}")
    assert (answer.status, answer.json()["field"]) == (400, "record_id")


def test_auditors_answers_for_one_record_on_request(store: MemoryStore) -> None:
    fault = {"error": "A database error was encountered while trying to get a record from the database"}
    with live(store, ServeSettings(auditor_status_codes=True)) as server:
        unknown = server.ask("GET", "/record/x")
        invalid = server.ask("GET", "/record/%20")
        store.away = True
        away = server.ask("GET", "/record/x")
    assert (unknown.status, unknown.json()) == (500, fault)
    assert (invalid.status, invalid.body) == (200, b"null")
    assert (away.status, away.json()) == (500, fault)


def test_one_record_while_the_database_is_away_is_a_500_in_json(server: Live, store: MemoryStore) -> None:
    store.away = True
    answer = server.ask("GET", "/record/x")
    assert (answer.status, answer.json()["error"]) == (500, "the database is away")


@pytest.mark.parametrize("path", ["/nowhere", "/record/", "/record/a/b", "//health_check", "/records/x", "/v2"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unknown_path_is_auditors_404(server: Live, path: str, method: str) -> None:
    answer = server.ask(method, path)
    assert (answer.status, answer.body) == (404, b"The requested resource was not found. 404 Not Found")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/record", "POST, PUT"),
        ("PUT", "/records", "GET, POST"),
        ("DELETE", "/record/x", "GET"),
        ("POST", "/metrics", "GET"),
        ("PUT", "/v2/records", "GET, POST"),
    ],
)
def test_a_method_that_a_path_does_not_have_is_a_405(server: Live, method: str, path: str, allow: str) -> None:
    answer = server.ask(method, path)
    assert (answer.status, answer.body, answer.headers["allow"]) == (405, b"", allow)


def test_dead_letters_are_listed_newest_first(server: Live) -> None:
    server.ask("POST", "/record", b"one")
    server.ask("POST", "/record", b"\xfftwo")
    listed = server.ask("GET", "/v2/dead-letters").json()
    assert [letter["body"] for letter in listed] == [None, "one"]
    assert listed[0]["body_base64"] == "/3R3bw=="
    assert listed[1]["received"] == "2024-05-06T07:08:09Z"
    assert not listed[1]["cut"]
    assert len(server.ask("GET", "/v2/dead-letters?limit=1").json()) == 1


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "limit=", "limit=1&limit=2", "l=1"])
def test_a_limit_of_dead_letters_that_makes_no_sense_is_a_400(server: Live, query: str) -> None:
    assert server.ask("GET", f"/v2/dead-letters?{query}").status == 400


def test_dead_letters_while_the_database_is_away_are_a_503(server: Live, store: MemoryStore) -> None:
    store.away = True
    answer = server.ask("GET", "/v2/dead-letters")
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")


def test_the_description_names_every_operation_and_is_whole(server: Live) -> None:
    described = server.ask("GET", "/openapi.json").json()
    assert described["openapi"].startswith("3.1")
    for path in ("/record", "/records", "/record/{record_id}", "/health_check", "/metrics", "/v2/records"):
        assert path in described["paths"]
    known = described["components"]["schemas"]
    text = json.dumps(described)
    for part in text.split('"#/components/schemas/')[1:]:
        assert part.partition('"')[0] in known


def test_head_is_answered_where_probes_send_it(server: Live) -> None:
    for path in ("/health_check", "/"):
        assert server.ask("HEAD", path).body == b""


def test_a_message_that_is_no_http_is_a_400(server: Live) -> None:
    with server.raw() as connection:
        connection.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b'{"error":"the request is not valid HTTP' in answer


def test_an_address_that_is_too_long_is_a_400_in_json(server: Live) -> None:
    answer = server.ask("GET", "/records?record_id=" + "x" * 65_536)
    assert answer.status == 400
    assert "65536 bytes or more" in answer.json()["error"]
