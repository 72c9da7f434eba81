from __future__ import annotations

import msgspec
import pytest

from tests.serve.live import Live, record
from tests.serve.memory import MemoryStore

LINES = {"content-type": "application/x-ndjson"}


@pytest.fixture
def store(shared: tuple[Live, MemoryStore]) -> MemoryStore:
    shared[1].clear()
    return shared[1]


@pytest.fixture
def server(shared: tuple[Live, MemoryStore], store: MemoryStore) -> Live:
    return shared[0]


def outcomes(server: Live, body: bytes, headers: dict[str, str] | None = None) -> list[dict[str, str]]:
    answer = server.ask("POST", "/v2/records", body, headers)
    assert answer.status == 200
    listed: list[dict[str, str]] = answer.json()["outcomes"]
    return listed


def bodies(*records: object) -> list[bytes]:
    return [msgspec.json.encode(one) for one in records]


@pytest.mark.parametrize("framing", ["array", "lines", "lines declared as json"])
def test_every_record_gets_its_own_outcome_in_order(server: Live, store: MemoryStore, framing: str) -> None:
    server.post("/record", record("known"))
    items = bodies(record("new"), record("known"), record("known", meta=None), record("bad", start_time=5))
    if framing == "array":
        listed = outcomes(server, b"[" + b",".join(items) + b"]")
    else:
        listed = outcomes(server, b"\n".join(items) + b"\n\n", LINES if framing == "lines" else None)
    assert [one["outcome"] for one in listed] == ["new", "same", "conflict", "invalid"]
    assert listed[0] == {"outcome": "new"}
    assert listed[2]["field"] == "record_id"
    assert listed[3] == {"outcome": "invalid", "field": "start_time", "reason": "is not a string"}
    assert set(store.records) == {"known", "new"}
    assert len(store.buried) == 2


def test_a_line_that_is_no_json_is_one_invalid_record(server: Live, store: MemoryStore) -> None:
    first, last = bodies(record("a"), record("b"))
    listed = outcomes(server, first + b"\n{\n" + last, LINES)
    assert [one["outcome"] for one in listed] == ["new", "invalid", "new"]
    assert set(store.records) == {"a", "b"}


@pytest.mark.parametrize("body", [b"", b"\n \n", b"[{]", b"[1,"])
def test_a_body_that_is_unusable_as_a_whole_is_a_400(server: Live, store: MemoryStore, body: bytes) -> None:
    answer = server.ask("POST", "/v2/records", body)
    assert answer.status == 400
    assert answer.json()["error"]
    assert len(store.buried) == 1


def test_an_empty_list_has_no_outcomes(server: Live) -> None:
    assert outcomes(server, b"[]") == []


def test_many_records_are_told_apart(server: Live, store: MemoryStore) -> None:
    listed = outcomes(server, b"\n".join(bodies(*(record(f"r{number}") for number in range(3000)))), LINES)
    assert [one["outcome"] for one in listed] == ["new"] * 3000
    assert len(store.records) == 3000


@pytest.mark.parametrize(
    "body", [b"[", b"[{}]", b'[{"record_id":"a","components":[],"start_time":"2024-01-01T00:00:00Z"}]']
)
def test_while_the_database_is_away_everything_may_be_sent_again(server: Live, store: MemoryStore, body: bytes) -> None:
    store.away = True
    answer = server.ask("POST", "/v2/records", body)
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
