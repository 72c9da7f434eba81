"""The bulk API as the sink for documents speaks it; what each answer of it means is tested with the relay, too."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from jobmeter.model.outcome import Accepted, Keep, Outcome, Rejected
from jobmeter.sinks.elasticsearch_documents import Settings, open_sink
from tests.sinks.scripted import ScriptedServer, Step, answer
from tests.sinks.test_documents import item


def sent(server: ScriptedServer, number: int) -> Sequence[Outcome]:
    sink = open_sink(Settings(address=server.address, index="af"))
    try:
        return sink.send([item(place) for place in range(number)])
    finally:
        sink.close()


def told(*statuses: int) -> Step:
    return answer(200, json.dumps({"items": [{"create": {"status": status}} for status in statuses]}).encode())


def test_each_document_has_its_outcome() -> None:
    with ScriptedServer([told(201, 409, 400, 429)]) as server:
        outcomes = sent(server, 4)
    assert [type(outcome) for outcome in outcomes] == [Accepted, Accepted, Rejected, Keep]


@pytest.mark.parametrize("step", [answer(503), answer(401), answer(200, b"x"), told(201), Step(b"", close=True)])
def test_an_answer_that_tells_nothing_keeps_all(step: Step) -> None:
    with ScriptedServer([step, step]) as server:
        assert [type(outcome) for outcome in sent(server, 2)] == [Keep, Keep]


def test_the_same_document_has_the_same_id() -> None:
    one = item()
    with ScriptedServer([told(201), told(409)]) as server:
        sink = open_sink(Settings(address=server.address, index="af"))
        sink.send([one])
        sink.send([one])
        sink.close()
    ids = {json.loads(request.body.splitlines()[0])["create"]["_id"] for request in server.requests}
    assert len(ids) == 1
