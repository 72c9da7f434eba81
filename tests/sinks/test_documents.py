"""The sink for facility documents against a peer that answers by script."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from jobmeter.model.document import Document
from jobmeter.model.outcome import Accepted, Keep, Outcome, Rejected
from jobmeter.sinks.documents import DocumentSink, Settings, open_sink
from jobmeter.wire.document import encode_document
from tests.sinks.scripted import Request, ScriptedServer, Step, answer


def item(number: int = 0, *, age_seconds: float = 0, **fields: Any) -> bytes:
    observed = datetime.now(UTC) - timedelta(seconds=age_seconds)
    return encode_document(Document("ssh", "UC-AF", observed, {"login_node": f"n{number}", **fields}))


@contextmanager
def sink(server: ScriptedServer, path: str = "/", **settings: Any) -> Iterator[DocumentSink]:
    opened = open_sink(Settings(url=f"{server.address}{path}", **settings))
    try:
        yield opened
    finally:
        opened.close()


def sent(server: ScriptedServer, items: Sequence[bytes], path: str = "/", **settings: Any) -> Sequence[Outcome]:
    with sink(server, path, **settings) as opened:
        return opened.send(items)


def bodies(server: ScriptedServer) -> list[Any]:
    return [json.loads(request.body) for request in server.requests]


def kept(outcomes: Sequence[Outcome]) -> list[str]:
    return [outcome.reason for outcome in outcomes if isinstance(outcome, Keep)]


def test_each_document_is_one_post_with_the_token_in_it_over_one_connection() -> None:
    with ScriptedServer([answer(200), answer(202)]) as server:
        outcomes = sent(server, [item(1), item(2)], token="t")
    assert outcomes == [Accepted(), Accepted()]
    assert [(request.method, request.path) for request in server.requests] == [("POST", "/"), ("POST", "/")]
    assert bodies(server) == [
        {"token": "t", "kind": "ssh", "cluster": "UC-AF", "login_node": "n1"},
        {"token": "t", "kind": "ssh", "cluster": "UC-AF", "login_node": "n2"},
    ]
    assert list(bodies(server)[0]) == ["token", "kind", "cluster", "login_node"]
    assert server.connections == 1
    assert server.requests[0].headers["content-type"] == "application/json"
    assert server.requests[0].headers["idempotency-key"] != server.requests[1].headers["idempotency-key"]


def test_without_a_token_it_is_null() -> None:
    with ScriptedServer([answer(200)]) as server:
        sent(server, [item()])
    assert bodies(server)[0]["token"] is None


def test_the_token_is_read_from_its_file_whenever_something_is_sent(tmp_path: Path) -> None:
    file = tmp_path / "token"
    with ScriptedServer([answer(200), answer(200)]) as server, sink(server, token_file=str(file)) as one:
        assert isinstance(one.send([item()])[0], Keep)
        for token in ("first", "second"):
            file.write_text(f"{token}\n")
            one.send([item()])
    assert [body["token"] for body in bodies(server)] == ["first", "second"]


def test_the_path_and_query_of_the_url_are_kept() -> None:
    with ScriptedServer([answer(200)]) as server:
        sent(server, [item()], "/in/put/?a=b")
    assert server.requests[0].path == "/in/put/?a=b"


def test_documents_of_an_array_go_in_one_request_with_their_times() -> None:
    with ScriptedServer([answer(200), answer(200)]) as server:
        outcomes = sent(server, [item(1), item(2), item(3)], array=2)
    assert outcomes == [Accepted()] * 3
    assert [len(body) for body in bodies(server)] == [2, 1]
    assert bodies(server)[0][0]["timestamp"].endswith("Z")


def test_a_late_document_carries_the_time_of_which_it_is_true() -> None:
    with ScriptedServer([answer(200), answer(200), answer(200)]) as server:
        sent(server, [item(age_seconds=600), item()])
        sent(server, [item(age_seconds=600)], timestamps="never")
    late, now, strict = bodies(server)
    stamped = datetime.fromisoformat(late["timestamp"])
    assert 595 < (datetime.now(UTC) - stamped).total_seconds() < 660
    assert "timestamp" not in now
    assert "timestamp" not in strict


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (answer(302, b"", "Location: http://127.0.0.1:1/"), "not followed"),
        (answer(401), "token"),
        (answer(403), "token"),
        (answer(429, b"", "Retry-After: 7"), "429"),
        (answer(500, b"oops"), "oops"),
        (answer(400, b"<html>a proxy"), "400"),
        (Step(b"", close=True), "closed"),
        (Step(b"garbage\r\n\r\n", close=True), "127.0.0.1"),
    ],
)
def test_whatever_is_no_answer_about_the_document_keeps_it_and_those_after_it(step: Step, reason: str) -> None:
    with ScriptedServer([answer(200), step, step]) as server:
        outcomes = sent(server, [item(1), item(2), item(3)])
    assert outcomes[0] == Accepted()
    assert len(kept(outcomes)) == 2
    assert reason in kept(outcomes)[0]
    assert all(request.method == "POST" for request in server.requests)


def test_what_was_asked_to_wait_waits() -> None:
    with ScriptedServer([answer(503, b"", "Retry-After: 7")]) as server:
        (outcome,) = sent(server, [item()])
    assert outcome == Keep(7.0, "status 503: no details")


def test_a_document_that_is_refused_with_a_reason_is_rejected_and_the_others_go_on() -> None:
    with ScriptedServer([answer(200), answer(400, b'{"error":"bad"}'), answer(200)]) as server:
        outcomes = sent(server, [item(1), item(2), item(3)])
    assert outcomes == [Accepted(), Rejected('status 400: {"error":"bad"}'), Accepted()]


def test_an_array_with_one_bad_document_is_halved_until_it_stands_alone() -> None:
    def judge(request: Request) -> Step:
        return answer(400, b'{"error":"bad"}') if b'"n3"' in request.body else answer(200)

    with ScriptedServer(judge) as server:
        outcomes = sent(server, [item(number) for number in range(8)], array=8)
    assert [type(outcome) for outcome in outcomes] == [Accepted] * 3 + [Rejected] + [Accepted] * 4


def test_many_documents_go_over_several_connections_and_each_has_its_own_outcome() -> None:
    def judge(request: Request) -> Step:
        number = int(json.loads(request.body)["login_node"][1:])
        return answer(400, b'{"error":"bad"}') if number % 10 == 3 else answer(200)

    with ScriptedServer(judge) as server:
        outcomes = sent(server, [item(number) for number in range(200)], connections=4)
        assert server.connections == 4
    assert [isinstance(outcome, Rejected) for outcome in outcomes] == [number % 10 == 3 for number in range(200)]
    assert len(server.requests) == 200


def test_documents_of_other_kinds_go_before_and_after_many_of_one_kind_in_their_order() -> None:
    ends = [encode_document(Document(kind, "UC-AF", datetime.now(UTC), {})) for kind in ("CPU", "MEM", "DISK")]
    with ScriptedServer(lambda _: answer(200)) as server:
        outcomes = sent(server, [*ends, *(item(number) for number in range(100)), *ends])
    assert outcomes == [Accepted()] * 106
    kinds = [body["kind"] for body in bodies(server)]
    assert kinds == ["CPU", "MEM", "DISK", *["ssh"] * 100, "CPU", "MEM", "DISK"]


def test_one_document_that_cannot_be_sent_now_keeps_none_of_many_others() -> None:
    def judge(request: Request) -> Step:
        return answer(500) if b'"n7"' in request.body else answer(200)

    with ScriptedServer(judge) as server:
        outcomes = sent(server, [item(number) for number in range(200)])
    assert [number for number, outcome in enumerate(outcomes) if outcome != Accepted()] == [7]


def test_an_endpoint_that_is_away_is_tried_once_by_each_connection() -> None:
    with ScriptedServer(lambda _: answer(503)) as server:
        outcomes = sent(server, [item(number) for number in range(200)], connections=4)
        assert len(server.requests) == 4
    assert len(kept(outcomes)) == 200


def test_a_hung_peer_is_given_up_when_the_time_for_sending_is_over() -> None:
    with ScriptedServer(lambda _: Step(b"HTTP/1.1 200 OK\r\n" * 100, pause_seconds=0.5)) as server:
        with sink(server, timeout_seconds=60) as one:
            one.until = time.monotonic() + 2
            began = time.monotonic()
            outcomes = one.send([item(1), item(2)])
            assert time.monotonic() - began < 60
        server.drop_connections()
    assert len(kept(outcomes)) == 2
    assert len(server.requests) <= 1


def test_settings_that_cannot_be_used_are_told() -> None:
    with pytest.raises(ValueError, match="exclude"):
        Settings(token="a", token_file="b")
    with pytest.raises(ValueError, match="is not http"):
        Settings(url="af.example.org")
