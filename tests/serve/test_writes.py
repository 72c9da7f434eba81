from __future__ import annotations

import threading

import pytest

from jobmeter.serve.settings import ServeSettings
from tests.serve.live import Live, live, record, request, unanswered, until
from tests.serve.memory import MemoryStore

WARNING_ONE = "Record already exists, but the error was ignored due to AUDITOR configuration."
WARNING_SOME = "One or more records already exist, but the error was ignored due to AUDITOR configuration."


def test_a_new_record_is_answered_with_an_empty_200(server: Live, store: MemoryStore) -> None:
    answer = server.post("/record", record())
    assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", "0")
    assert list(store.records) == ["r1"]


def test_unknown_keys_are_passed_over(server: Live, store: MemoryStore) -> None:
    assert server.post("/record", record(runtime=5, extra={"a": [1]})).status == 200
    assert "r1" in store.records


def test_the_same_record_again_is_harmless(server: Live, store: MemoryStore) -> None:
    server.post("/record", record())
    answer = server.post("/record", record())
    assert (answer.status, answer.body) == (200, b"")
    assert not store.buried


def test_other_content_under_a_known_id_is_a_conflict_and_kept_as_dead_letter(server: Live, store: MemoryStore) -> None:
    server.post("/record", record())
    answer = server.post("/record", record(stop_time=None))
    assert (answer.status, answer.body) == (409, b"RECORD_EXISTS")
    assert store.records["r1"].stop_time is not None
    assert b'"stop_time":null' in store.buried[0].body
    assert store.buried[0].origin == "127.0.0.1"


def test_auditors_status_codes_on_request(store: MemoryStore) -> None:
    with live(store, ServeSettings(auditor_status_codes=True)) as server:
        server.post("/record", record())
        for again in (record(), record(stop_time=None)):
            answer = server.post("/record", again)
            assert (answer.status, answer.body) == (500, b"RECORD_EXISTS")
        assert server.post("/records", [record(), record("r2")]).body == b"RECORD_EXISTS"
    assert set(store.records) == {"r1", "r2"}
    assert len(store.buried) == 1


@pytest.mark.parametrize("as_auditor", [False, True])
def test_an_ignored_duplicate_is_a_200_with_a_warning(store: MemoryStore, as_auditor: bool) -> None:
    with live(store, ServeSettings(ignore_record_exists_error=True, auditor_status_codes=as_auditor)) as server:
        server.post("/record", record())
        one = server.post("/record", record(meta=None))
        some = server.post("/records", [record(meta=None), record("r2")])
    assert (one.status, one.json()) == (200, {"warning": WARNING_ONE})
    assert (some.status, some.json()) == (200, {"warning": WARNING_SOME})
    assert set(store.records) == {"r1", "r2"}
    assert len(store.buried) == 2


def test_a_bulk_is_stored_in_one_go(server: Live, store: MemoryStore) -> None:
    answer = server.post("/records", [record(f"r{number}") for number in range(300)])
    assert (answer.status, answer.body) == (200, b"")
    assert store.groups == [300]


def test_an_empty_bulk_is_accepted(server: Live) -> None:
    assert server.post("/records", []).status == 200


def test_a_large_bulk_is_stored_whole(server: Live, store: MemoryStore) -> None:
    assert server.post("/records", [record(f"r{number}") for number in range(5000)]).status == 200
    assert len(store.records) == 5000


def test_a_duplicate_in_a_bulk_discards_nothing_else(server: Live, store: MemoryStore) -> None:
    server.post("/record", record("r2"))
    answer = server.post("/records", [record("r1"), record("r2", meta=None), record("r3")])
    assert (answer.status, answer.body) == (409, b"RECORD_EXISTS")
    assert set(store.records) == {"r1", "r2", "r3"}
    assert len(store.buried) == 1


def test_a_bulk_of_repeats_is_harmless(server: Live) -> None:
    server.post("/record", record("r1"))
    answer = server.post("/records", [record("r1"), record("r2"), record("r2")])
    assert (answer.status, answer.body) == (200, b"")


def test_an_invalid_record_in_a_bulk_is_named_and_the_others_are_stored(server: Live, store: MemoryStore) -> None:
    bad = record("bad", components=[{"name": "Cores", "amount": -1, "scores": []}])
    answer = server.post("/records", [record("r1"), bad, record("r3")])
    assert answer.status == 400
    said = answer.json()
    assert (said["stored"], said["refused_count"]) == (2, 1)
    refused = said["refused"][0]
    assert (refused["index"], refused["record_id"], refused["field"]) == (1, "bad", "components[0].amount")
    assert set(store.records) == {"r1", "r3"}
    assert store.buried[0].body.startswith(b'{"record_id":"bad"')


def test_a_bulk_answer_lists_no_more_than_a_hundred_refused(server: Live, store: MemoryStore) -> None:
    said = server.post("/records", [{} for _ in range(150)]).json()
    assert (said["refused_count"], len(said["refused"])) == (150, 100)
    assert len(store.buried) == 150


def test_a_put_sets_the_stop_time(server: Live, store: MemoryStore) -> None:
    server.post("/record", record(stop_time=None))
    body = b'{"record_id":"r1","components":[],"stop_time":"2024-01-01T02:00:00Z"}'
    answer = server.ask("PUT", "/record", body)
    assert (answer.status, answer.body) == (200, b"")
    assert str(store.records["r1"].stop_time) == "2024-01-01 02:00:00+00:00"


def test_a_put_for_an_unknown_record_says_so(server: Live, store: MemoryStore) -> None:
    answer = server.ask("PUT", "/record", b'{"record_id":"x","components":[],"stop_time":"2024-01-01T02:00:00Z"}')
    assert answer.status == 404
    assert answer.body == b"Updating unknown record x not possible."
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert not store.buried


def test_a_stop_before_the_stored_start_is_refused(server: Live, store: MemoryStore) -> None:
    server.post("/record", record(stop_time=None))
    answer = server.ask("PUT", "/record", b'{"record_id":"r1","components":[],"stop_time":"2023-01-01T02:00:00Z"}')
    assert (answer.status, answer.json()["field"]) == (400, "stop_time")
    assert store.records["r1"].stop_time is None
    assert len(store.buried) == 1


def test_waiting_posts_are_stored_in_one_group_and_each_gets_its_own_outcome(store: MemoryStore) -> None:
    store.gate.clear()
    answers: dict[int, bytes] = {}

    def post(number: int) -> None:
        answer = server.post("/record", record(f"r{number // 2}", meta={"n": [str(number % 2)]}))
        answers[number] = answer.body

    with live(store) as server:
        threads = [threading.Thread(target=post, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        until(
            lambda: server.metric('http_server_active_requests{http_request_method="POST",http_route="/record"}') == 20
        )
        store.gate.set()
        for thread in threads:
            thread.join()
    assert len(store.groups) == 2
    assert sum(store.groups) == 20
    assert sorted(answers.values()) == [b""] * 10 + [b"RECORD_EXISTS"] * 10


def test_a_write_is_not_acknowledged_before_it_is_durable(server: Live, store: MemoryStore) -> None:
    store.gate.clear()
    with server.raw() as connection:
        body = b'{"record_id":"r1","components":[],"start_time":"2024-01-01T02:00:00Z"}'
        connection.sendall(request("POST", "/record", body))
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        store.gate.set()
        connection.settimeout(30)
        assert connection.recv(15) == b"HTTP/1.1 200 OK"


def test_pipelined_requests_are_served_in_order(server: Live, store: MemoryStore) -> None:
    post = b'{"record_id":"r1","components":[],"start_time":"2024-01-01T02:00:00Z"}'
    put = b'{"record_id":"r1","components":[],"stop_time":"2024-01-01T03:00:00Z"}'
    with server.raw() as connection:
        connection.sendall(request("POST", "/record", post) + request("PUT", "/record", put, "connection: close"))
        received = b""
        while piece := connection.recv(65536):
            received += piece
    assert received.count(b"HTTP/1.1 200 OK") == 2
    assert store.records["r1"].stop_time is not None


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/record", b'{"record_id":"r1","components":[],"start_time":"2024-01-01T02:00:00Z"}'),
        ("POST", "/records", b'[{"record_id":"r1","components":[],"start_time":"2024-01-01T02:00:00Z"}]'),
        ("PUT", "/record", b'{"record_id":"r1","components":[],"stop_time":"2024-01-01T02:00:00Z"}'),
        ("POST", "/record", b"{"),
        ("POST", "/records", b"{"),
    ],
)
def test_a_write_that_cannot_be_stored_now_gets_no_answer(
    server: Live, store: MemoryStore, method: str, path: str, body: bytes
) -> None:
    store.away = True
    with server.raw() as connection:
        connection.sendall(request(method, path, body))
        assert unanswered(connection)
    store.away = False
    assert server.metric("jobmeter_writes_unanswered_total") == 1
    assert server.ask("GET", "/health_check").status == 200


def test_one_request_that_the_store_fails_on_does_not_fail_those_beside_it(store: MemoryStore) -> None:
    store.gate.clear()
    store.poison = "r3"
    failed: list[str] = []

    def post(record_id: str) -> None:
        try:
            assert server.post("/record", record(record_id)).status == 200
        except ConnectionError:
            failed.append(record_id)

    with live(store) as server:
        threads = [threading.Thread(target=post, args=(f"r{number}",)) for number in range(8)]
        for thread in threads:
            thread.start()
        until(
            lambda: server.metric('http_server_active_requests{http_request_method="POST",http_route="/record"}') == 8
        )
        store.gate.set()
        for thread in threads:
            thread.join()
    assert failed == ["r3"]
    assert len(store.records) == 7


def test_a_stop_finishes_what_is_in_progress(store: MemoryStore) -> None:
    store.gate.clear()
    statuses: list[int] = []
    with live(store) as server:
        thread = threading.Thread(target=lambda: statuses.append(server.post("/record", record()).status))
        thread.start()
        until(
            lambda: server.metric('http_server_active_requests{http_request_method="POST",http_route="/record"}') == 1
        )
        threading.Timer(0.3, store.gate.set).start()
    thread.join()
    assert statuses == [200]
