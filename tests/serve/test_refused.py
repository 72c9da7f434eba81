"""What can never be stored: a clear 4xx, nothing stored, the body kept, the server unharmed."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator

import pytest

from jobmeter.serve.settings import Limits, ServeSettings
from tests.serve.live import JSON, Live, live, record, request
from tests.serve.memory import MemoryStore

LIMIT_BYTES = 2_097_152
NESTED = b"[" * 100_000 + b"]" * 100_000
PLAIN = b'{"record_id":"%s","components":[],"start_time":"2024-01-01T00:00:00Z"%s}'


@pytest.fixture
def store(shared: tuple[Live, MemoryStore]) -> MemoryStore:
    shared[1].clear()
    return shared[1]


@pytest.fixture
def server(shared: tuple[Live, MemoryStore], store: MemoryStore) -> Live:
    return shared[0]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"record_id": ""}, "record_id"),
        ({"record_id": " \t"}, "record_id"),
        ({"record_id": "a\0b"}, "record_id"),
        ({"record_id": "a" * 257}, "record_id"),
        ({"record_id": "e\u0301" * 257}, "record_id"),
        ({"record_id": 5}, "record_id"),
        ({"components": None}, "components"),
        ({"components": [{"name": "c", "amount": -1, "scores": []}]}, "components[0].amount"),
        ({"components": [{"name": "c", "amount": 1.5, "scores": []}]}, "components[0].amount"),
        ({"components": [{"name": "c", "amount": "1", "scores": []}]}, "components[0].amount"),
        ({"components": [{"name": "c", "amount": 2**63, "scores": []}]}, "components[0].amount"),
        ({"components": [{"name": "c", "amount": 1}]}, "components[0].scores"),
        (
            {"components": [{"name": "c", "amount": 1, "scores": [{"name": "s", "value": -1}]}]},
            "components[0].scores[0].value",
        ),
        ({"start_time": None}, "start_time"),
        ({"start_time": "2024-01-01T00:00:00"}, "start_time"),
        ({"start_time": 1704067200}, "start_time"),
        ({"stop_time": "2023-12-31T23:59:59Z"}, "stop_time"),
        ({"meta": {"site": "A"}}, "meta['site']"),
        ({"meta": {"site": [""]}}, "meta['site'][0]"),
    ],
)
def test_a_faulty_field_is_named(server: Live, store: MemoryStore, changes: dict[str, object], field: str) -> None:
    answer = server.post("/record", record(**changes))
    assert (answer.status, answer.headers["content-type"]) == (400, "application/json")
    said = answer.json()
    assert said["field"] == field
    assert said["reason"]
    assert not store.records
    assert len(store.buried) == 1
    assert server.post("/record", record()).status == 200


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"null", b"[]", b'"text"', PLAIN % (b"\xff", b""), PLAIN % (b"\\ud800", b""), NESTED, b"{}{}"],
)
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_what_is_no_record_at_all_is_refused(server: Live, store: MemoryStore, method: str, body: bytes) -> None:
    answer = server.ask(method, "/record", body)
    assert answer.status == 400
    assert answer.json()["error"]
    assert not store.records
    assert store.buried[0].body == body


def test_deep_nesting_under_an_unknown_key_does_not_harm(server: Live, store: MemoryStore) -> None:
    answer = server.ask("POST", "/record", PLAIN % (b"r", b',"x":' + NESTED))
    assert answer.status == 400
    assert server.post("/record", record()).status == 200
    assert set(store.records) == {"r1"}


@pytest.mark.parametrize("body", [b"", b"{}", b"[", b"null", b"[1,]"])
def test_what_is_no_list_of_records_is_refused(server: Live, store: MemoryStore, body: bytes) -> None:
    assert server.ask("POST", "/records", body).status == 400
    assert store.buried[0].body == body


@pytest.mark.parametrize("content_type", [None, "text/plain", "json", "application/xml", "application/json5", "/"])
def test_a_body_that_is_not_declared_as_json_is_refused(
    server: Live, store: MemoryStore, content_type: str | None
) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    answer = server.post("/record", record(), headers)
    assert (answer.status, answer.headers["content-type"]) == (400, "application/json")
    assert not store.records
    assert len(store.buried) == 1


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "application/problem+json", "Application/JSON", "x/json"]
)
def test_json_may_be_declared_in_several_ways(server: Live, store: MemoryStore, content_type: str) -> None:
    assert server.post("/record", record(), {"content-type": content_type}).status == 200
    assert "r1" in store.records


def padded(size: int) -> bytes:
    body = PLAIN % (b"r1", b"")
    return body + b" " * (size - len(body))


@pytest.mark.parametrize("path", ["/record", "/v2/records"])
def test_a_body_of_exactly_the_limit_is_taken(server: Live, store: MemoryStore, path: str) -> None:
    assert server.ask("POST", path, padded(LIMIT_BYTES)).status == 200
    assert "r1" in store.records


@pytest.mark.parametrize("path", ["/record", "/records", "/v2/records"])
def test_a_body_of_one_byte_more_is_refused(server: Live, store: MemoryStore, path: str) -> None:
    answer = server.ask("POST", path, padded(LIMIT_BYTES + 1))
    assert answer.status == 413
    assert answer.json()["error"] == "the body is larger than 2097152 bytes"
    assert not store.records
    assert (len(store.buried[0].body), store.buried[0].size_bytes) == (LIMIT_BYTES, LIMIT_BYTES + 1)


def test_a_body_of_unknown_length_is_bounded_too(server: Live, store: MemoryStore) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(33):
            yield b" " * 65536

    connection = server.raw()
    with connection:
        head = (
            b"POST /record HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        connection.sendall(head)
        for piece in pieces():
            connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        assert connection.recv(12) == b"HTTP/1.1 413"
    assert not store.records


def test_the_limit_can_be_set(store: MemoryStore) -> None:
    with live(store, ServeSettings(limits=Limits(body_bytes=1024))) as server:
        assert server.ask("POST", "/record", padded(1024)).status == 200
        assert server.ask("POST", "/record", padded(1025)).status == 413


def raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("gzip", gzip.compress(padded(500))),
        ("x-gzip", gzip.compress(padded(500)[:50]) + gzip.compress(padded(500)[50:])),
        ("deflate", zlib.compress(padded(500))),
        ("deflate", raw_deflate(padded(500))),
        ("identity", padded(500)),
    ],
)
def test_a_compressed_body_is_taken(server: Live, store: MemoryStore, encoding: str, packed: bytes) -> None:
    assert server.ask("POST", "/record", packed, {**JSON, "content-encoding": encoding}).status == 200
    assert "r1" in store.records


@pytest.mark.parametrize(
    ("encoding", "packed", "status"),
    [
        ("gzip", gzip.compress(padded(LIMIT_BYTES + 1)), 413),
        ("deflate", zlib.compress(b" " * 200_000_000), 413),
        ("gzip", gzip.compress(padded(500))[:-9], 400),
        ("gzip", b"not gzip", 400),
        ("gzip", gzip.compress(b"") * 2000, 400),
        ("br", b"x", 415),
        ("gzip, gzip", b"x", 415),
    ],
)
def test_a_body_that_cannot_be_unpacked_within_the_limit_is_refused(
    server: Live, store: MemoryStore, encoding: str, packed: bytes, status: int
) -> None:
    answer = server.ask("POST", "/record", packed, {**JSON, "content-encoding": encoding})
    assert answer.status == status
    assert not store.records
    assert store.buried[0].body == packed


def test_a_client_that_goes_away_in_the_middle_of_its_body_stores_nothing(server: Live, store: MemoryStore) -> None:
    with server.raw() as connection:
        connection.sendall(request("POST", "/record", padded(500))[:-100])
    assert server.post("/record", record("r2")).status == 200
    assert set(store.records) == {"r2"}
    assert not store.buried
