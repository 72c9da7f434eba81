"""The sink of summaries against a scripted peer over real sockets."""

from __future__ import annotations

import json

import pytest

from jobmeter.contract import Sink
from jobmeter.model.outcome import Accepted, Keep, Outcome, Rejected
from jobmeter.sinks.summaries import Settings, open_sink
from tests.sinks.scripted import Request, ScriptedServer, Step, answer

ITEMS = [b'{"job":1}', b'{"job":2}', b'{"job":3}']
TAKEN = answer(200, b'{"accepted":1}')


def sent(*steps: Step) -> tuple[list[Outcome], list[Request]]:
    with ScriptedServer(list(steps)) as server:
        sink = open_sink(Settings(address=server.address, timeout_seconds=5))
        assert isinstance(sink, Sink)
        outcomes = list(sink.send(ITEMS))
        sink.close()
        return outcomes, server.requests


def test_all_go_in_one_request_and_are_accepted_together() -> None:
    outcomes, (request,) = sent(TAKEN)
    assert outcomes == [Accepted()] * 3
    assert (request.method, request.path) == ("POST", "/v2/summaries")
    assert json.loads(request.body) == [{"job": 1}, {"job": 2}, {"job": 3}]


@pytest.mark.parametrize("status", [400, 413])
def test_the_one_at_fault_is_found_and_the_others_are_stored(status: int) -> None:
    refused = answer(status, b'{"error":"this is no summary"}')
    outcomes, _ = sent(refused, refused, TAKEN, TAKEN)
    assert outcomes == [Rejected(f'status {status}: {{"error":"this is no summary"}}'), Accepted(), Accepted()]


@pytest.mark.parametrize("status", [401, 404, 429, 500, 503])
def test_an_answer_that_says_nothing_of_the_summaries_keeps_all(status: int) -> None:
    outcomes, _ = sent(answer(status, b"<html>"))
    assert outcomes == [Keep(0.0, f"status {status}: <html>")] * 3


def test_what_a_client_may_not_tell_of_waits_alone() -> None:
    refused = answer(403, b"no")
    outcomes, _ = sent(refused, TAKEN, refused, refused, TAKEN)
    assert outcomes == [Accepted(), Keep(0.0, "status 403: no"), Accepted()]


def test_without_a_server_all_are_kept() -> None:
    sink = open_sink(Settings(address="http://127.0.0.1:1"))
    assert all(isinstance(outcome, Keep) for outcome in sink.send(ITEMS))


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="address"):
        Settings(address="nowhere")
