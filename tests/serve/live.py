"""The application on a real server on a free port, in a thread of the test's process; and ways to talk to it."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from jobmeter.contract import Clock, DocumentStore, RecordStore
from jobmeter.keeping import TokenStore
from jobmeter.serve.app import Application, make_app
from jobmeter.serve.server import Server, bind
from jobmeter.serve.settings import ServeSettings
from jobmeter.serve.table import NOTHING_BESIDE, Beside
from tests.process import PATIENCE_SECONDS

JSON = {"content-type": "application/json"}


class FixedClock:
    """A clock that stands still."""

    def now(self) -> datetime:
        return datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)


class Answer(msgspec.Struct):
    """A whole answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Live:
    """A running server."""

    app: Application

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(
        self, method: str, path: str, body: bytes | str | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request on a connection of its own. Raises what http.client raises for a broken connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
        with closing(connection):
            connection.request(method, path, body, dict(JSON if headers is None else headers))
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())

    def post(self, path: str, value: object, headers: Mapping[str, str] | None = None) -> Answer:
        """POST a value as JSON."""
        return self.ask("POST", path, msgspec.json.encode(value), headers)

    def raw(self) -> socket.socket:
        """A bare connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_SECONDS)

    def metric(self, line: str) -> float:
        """The value of the sample whose name and labels are `line`, 0 when there is none."""
        for text in self.ask("GET", "/metrics").body.decode().splitlines():
            if text.startswith(f"{line} "):
                return float(text.rpartition(" ")[2])
        return 0.0


@contextmanager
def live(
    store: RecordStore,
    settings: ServeSettings | None = None,
    tokens: TokenStore | None = None,
    documents: DocumentStore | None = None,
    clock: Clock | None = None,
    *,
    beside: Beside = NOTHING_BESIDE,
    port: int = 0,
) -> Iterator[Live]:
    """Serve until the block ends, and end in order. Port 0 is any that is free."""
    settings = ServeSettings() if settings is None else settings
    sockets = bind(["127.0.0.1"], port)
    port = sockets[0].getsockname()[1]
    ready = threading.Event()
    app = make_app(store, settings, clock or FixedClock(), tokens, documents, beside=beside)
    server = Server(app, settings.limits, ready.set)
    thread = threading.Thread(target=server.run, args=(sockets,))
    thread.start()
    try:
        if not ready.wait(PATIENCE_SECONDS):
            pytest.fail("the server was not ready in time")
        running = Live(port)
        running.app = app
        yield running
    finally:
        server.stop()
        thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()


def until(holds: Callable[[], bool]) -> None:
    """Return when `holds` does; fail when it does not in good time."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        if time.monotonic() > end:
            pytest.fail("waited in vain")
        time.sleep(0.01)


def record(record_id: object = "r1", **changes: object) -> dict[str, object]:
    """A record as a client sends it."""
    return {
        "record_id": record_id,
        "meta": {"site": ["A"], "user": ["u"]},
        "components": [{"name": "Cores", "amount": 8, "scores": [{"name": "HEPSPEC", "value": 1.5}]}],
        "start_time": "2024-01-01T00:00:00Z",
        "stop_time": "2024-01-01T01:00:00Z",
        **changes,
    }


def unanswered(connection: socket.socket) -> bool:
    """Whether the server closes the connection without a byte."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def request(method: str, path: str, body: bytes, *headers: str) -> bytes:
    """A request as bytes."""
    lines = [f"{method} {path} HTTP/1.1", "host: t", "content-type: application/json", f"content-length: {len(body)}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body
