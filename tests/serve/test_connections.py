"""Bounds on connections: slow, endless, too many."""

from __future__ import annotations

import contextlib
import http.client
import socket
import time

from jobmeter.serve.settings import Limits, ServeSettings
from tests.serve.live import Live, live, record, unanswered, until
from tests.serve.memory import MemoryStore

QUICK = ServeSettings(limits=Limits(request_seconds=1, keep_alive_seconds=60))


def test_a_connection_that_never_asks_is_closed(store: MemoryStore) -> None:
    with live(store, QUICK) as server, server.raw() as connection:
        assert unanswered(connection)


def test_a_head_that_comes_in_drops_is_closed(store: MemoryStore) -> None:
    with live(store, QUICK) as server, server.raw() as connection:
        try:
            for byte in b"POST /record HTTP/1.1\r\n" * 100:
                connection.sendall(bytes([byte]))
                time.sleep(0.02)
        except OSError:
            return
        assert unanswered(connection)


def test_a_body_that_never_comes_is_closed_and_stores_nothing(store: MemoryStore) -> None:
    with live(store, QUICK) as server, server.raw() as connection:
        connection.sendall(b"POST /record HTTP/1.1\r\nhost: t\r\ncontent-length: 50\r\n\r\n{")
        assert unanswered(connection)
    assert not store.records


def test_a_slow_store_is_not_a_slow_client(store: MemoryStore) -> None:
    store.gate.clear()
    with live(store, QUICK) as server, server.raw() as connection:
        body = b'{"record_id":"r","components":[],"start_time":"2024-01-01T00:00:00Z"}'
        head = f"POST /record HTTP/1.1\r\ncontent-type: x/json\r\ncontent-length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        time.sleep(1.5)
        store.gate.set()
        assert connection.recv(12) == b"HTTP/1.1 200"


def test_a_head_without_end_is_refused(server: Live) -> None:
    with server.raw() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n")
        received = b""
        try:
            for number in range(3000):
                connection.sendall(b"x-%d: %s\r\n" % (number, b"y" * 1000))
            received = connection.recv(12)
        except OSError:
            received = received or b"HTTP/1.1 431"
        assert received == b"HTTP/1.1 431"
    assert server.post("/record", record()).status == 200


def test_connections_beyond_the_bound_are_closed_unanswered(store: MemoryStore) -> None:
    with live(store, ServeSettings(limits=Limits(connections=2))) as server:
        with server.raw(), server.raw(), server.raw() as third:
            assert unanswered(third)

        def answers_again() -> bool:
            with contextlib.suppress(OSError, http.client.HTTPException):
                return server.ask("GET", "/health_check").status == 200
            return False

        until(answers_again)


def test_a_kept_connection_serves_many_requests(server: Live, store: MemoryStore) -> None:
    with server.raw() as connection:
        for number in range(5):
            body = b'{"record_id":"r%d","components":[],"start_time":"2024-01-01T00:00:00Z"}' % number
            head = f"POST /record HTTP/1.1\r\ncontent-type: x/json\r\ncontent-length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
    assert len(store.records) == 5


def test_expect_100_continue_is_answered(server: Live) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        body = b'{"record_id":"r","components":[],"start_time":"2024-01-01T00:00:00Z"}'
        head = (
            "POST /record HTTP/1.1\r\ncontent-type: x/json\r\nexpect: 100-continue\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        connection.sendall(head.encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 100")
        connection.sendall(body)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
