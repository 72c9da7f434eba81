"""Documents on their way from the store to another place."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from jobmeter.contract import Bookmarks
from jobmeter.model.facility import Received
from jobmeter.run.server.relay import Forwarder, RelayUnusable, relaying, sink_of
from jobmeter.serve.settings import Relay
from jobmeter.store.documents import Documents
from jobmeter.store.open import open_store
from tests.process import PATIENCE_SECONDS
from tests.sinks.scripted import Request, ScriptedServer, Step, answer

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture
def documents(sqlite_url: str) -> Iterator[Documents]:
    opened = Documents(sqlite_url)
    opened.keep([Received("CPU", "UC-AF", NOW, NOW, b'{"kind":"CPU","load":%d}' % load) for load in range(5)])
    yield opened
    opened.close()


@pytest.fixture
def bookmarks(sqlite_url: str) -> Iterator[Bookmarks]:
    store = open_store(sqlite_url)
    assert isinstance(store, Bookmarks)
    yield store
    store.close()


def steps(documents: Documents, bookmarks: Bookmarks, settings: Relay, number: int) -> list[tuple[int, str]]:
    sink = sink_of(settings)
    forwarder = Forwarder(documents, bookmarks, sink, threading.Event())
    found = [forwarder.step() for _ in range(number)]
    sink.close()
    return found


def test_documents_go_on_with_their_time_and_the_bookmark_follows(documents: Documents, bookmarks: Bookmarks) -> None:
    with ScriptedServer(lambda _: answer(200)) as server:
        settings = Relay(url=f"{server.address}/", token="t", array=3)
        assert steps(documents, bookmarks, settings, 2) == [(5, ""), (0, "")]
    bodies = [document for request in server.requests for document in json.loads(request.body)]
    assert [document["load"] for document in bodies] == [0, 1, 2, 3, 4]
    assert bodies[0] == {"token": "t", "kind": "CPU", "load": 0, "timestamp": "2026-03-02T12:00:00.000Z"}


def test_what_is_not_taken_is_sent_again_and_what_is_refused_is_passed_over(
    documents: Documents, bookmarks: Bookmarks
) -> None:
    away = True

    def judge(request: Request) -> Step:
        load = json.loads(request.body)["load"]
        if load == 1:
            return answer(400, b'{"error":"no"}')
        return answer(503) if load == 3 and away else answer(200)

    with ScriptedServer(judge) as server:
        settings = Relay(url=f"{server.address}/", array=1)
        ((taken, reason),) = steps(documents, bookmarks, settings, 1)
        assert (taken, "503" in reason) == (3, True)
        away = False
        assert steps(documents, bookmarks, settings, 2) == [(2, ""), (0, "")]


def _bulk(request: Request) -> Step:
    lines = request.body.splitlines()
    items = []
    for action, document in zip(lines[::2], lines[1::2], strict=True):
        name = json.loads(action)["create"]["_id"]
        status = {1: 400, 2: 429}.get(json.loads(document)["load"], 201)
        failed = {"error": {"type": "mapper_parsing_exception", "reason": "no"}} if status > 300 else {}
        items.append({"create": {"_id": name, "status": status, **failed}})
    return answer(200, json.dumps({"errors": True, "items": items}).encode())


def test_elasticsearch_gets_them_in_bulk_and_tells_of_each(documents: Documents, bookmarks: Bookmarks) -> None:
    with ScriptedServer(_bulk) as server:
        settings = Relay(url=server.address, elasticsearch_index="af", token="key")
        ((taken, reason),) = steps(documents, bookmarks, settings, 1)
    assert taken == 2, "what is behind the first that was kept comes again"
    assert "429" in reason
    (request,) = server.requests
    assert (request.path, request.headers["content-type"]) == ("/_bulk", "application/x-ndjson")
    assert request.headers["authorization"] == "ApiKey key"
    action, document = (json.loads(line) for line in request.body.splitlines()[:2])
    assert action["create"]["_index"] == "af"
    assert document == {"@timestamp": "2026-03-02T12:00:00.000Z", "kind": "CPU", "load": 0}


def test_the_relay_runs_beside_the_server_and_ends_with_it(documents: Documents, bookmarks: Bookmarks) -> None:
    arrived = threading.Event()

    def judge(_: Request) -> Step:
        arrived.set()
        return answer(200)

    with ScriptedServer(judge) as server, relaying(Relay(url=f"{server.address}/"), documents, bookmarks):
        assert arrived.wait(PATIENCE_SECONDS)


def test_settings_that_cannot_be_used_are_told(documents: Documents, bookmarks: Bookmarks) -> None:
    given: Any = Relay(url="nowhere")
    with pytest.raises(RelayUnusable, match="nowhere"), relaying(given, documents, bookmarks):
        pass
