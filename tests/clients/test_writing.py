"""The real clients write: what they add and update is what they read back, and refusals reach them."""

from __future__ import annotations

from uuid import uuid4

import pytest

from tests.clients.client import NEW, OURS, ClientFault, RealClient
from tests.clients.records import component, record, understood
from tests.clients.server import LiveServer
from tests.process import free_port

STOP = "2024-03-01T13:00:05.999999+00:00"


def fresh(name: str = "job") -> str:
    return f"{name}-{uuid4().hex}"


def test_an_added_record_is_read_back_as_it_was(client: RealClient) -> None:
    written = record(
        fresh(),
        start_time="2021-12-06T16:29:43.079043+00:00",
        stop_time="2021-12-06T16:30:00.500000+00:00",
        meta={"site_id": ["site A"], "nodes": ["node2", "node1", "node2"], "none": []},
        components=[
            component("cpu", 8, hs23=1.05e-8, hs06=10.0),
            component("mem", 2**63 - 1),
            component("cpu", 0),
        ],
    )
    client.add(written)
    assert client.get_single_record(written["record_id"]) == understood(written)
    assert client.query(record_id=written["record_id"]) == [understood(written)]


def test_a_bare_record_is_read_back_as_it_was(client: RealClient) -> None:
    written = record(fresh())
    client.add(written)
    assert client.get_single_record(written["record_id"]) == understood(written)


@pytest.mark.parametrize(
    "start", ["1970-01-01T00:00:00+00:00", "0001-01-01T00:00:00+00:00", "9999-12-31T23:59:59.999999+00:00"]
)
def test_times_far_away_are_kept(client: RealClient, start: str) -> None:
    written = record(fresh(), start_time=start, stop_time=start)
    client.add(written)
    assert client.get_single_record(written["record_id"]) == understood(written)


def test_an_identical_repeat_is_no_error(client: RealClient) -> None:
    written = record(fresh(), components=[component("cpu", 8, hs=1.5)])
    client.add(written)
    client.add(written)
    assert client.query(record_id=written["record_id"]) == [understood(written)]


def test_another_record_with_the_same_id_raises_record_exists(client: RealClient) -> None:
    written = record(fresh(), components=[component("cpu", 8)])
    client.add(written)
    with pytest.raises(ClientFault, match=r"^RECORD_EXISTS$"):
        client.add({**written, "components": [component("cpu", 9)]})
    assert client.get_single_record(written["record_id"]) == understood(written)


def test_bulk_insert_stores_all(client: RealClient) -> None:
    site = fresh("site")
    written = [record(fresh(f"{number:03}"), meta={"site": [site]}) for number in range(500)]
    client.bulk_insert(written)
    found = client.query(meta={"site": {"contains": [site]}})
    assert sorted(found, key=lambda item: item["record_id"]) == [understood(item) for item in written]


def test_a_duplicate_in_a_bulk_insert_raises_and_discards_nothing_else(client: RealClient) -> None:
    site = fresh("site")
    first, other, last = (record(fresh(), meta={"site": [site]}) for _ in range(3))
    client.add(other)
    changed = {**other, "components": [component("cpu", 1)]}
    with pytest.raises(ClientFault, match=r"^RECORD_EXISTS$"):
        client.bulk_insert([first, changed, last])
    found = client.query(meta={"site": {"contains": [site]}})
    assert {item["record_id"] for item in found} == {item["record_id"] for item in (first, other, last)}
    assert client.get_single_record(other["record_id"]) == understood(other)


def test_an_identical_bulk_insert_is_no_error(client: RealClient) -> None:
    written = [record(fresh()), record(fresh())]
    client.bulk_insert(written)
    client.bulk_insert(written)
    client.bulk_insert([])


def test_an_update_sets_the_stop_time(client: RealClient) -> None:
    written = record(fresh(), meta={"a": ["b"]}, components=[component("cpu", 8)])
    client.add(written)
    client.update({**written, "stop_time": STOP})
    found = client.get_single_record(written["record_id"])
    assert found == understood({**written, "stop_time": STOP})
    assert found["runtime"] == 3605


def test_an_update_changes_nothing_but_the_stop_time(client: RealClient) -> None:
    written = record(fresh(), meta={"a": ["b"]}, components=[component("cpu", 8)])
    client.add(written)
    client.update(record(written["record_id"], start_time="2020-01-01T00:00:00+00:00", stop_time=STOP))
    assert client.get_single_record(written["record_id"]) == understood({**written, "stop_time": STOP})


def test_an_update_of_an_unknown_record_raises(client: RealClient) -> None:
    with pytest.raises(ClientFault, match="404"):
        client.update(record(fresh(), stop_time=STOP))


def test_an_unknown_record_raises(client: RealClient) -> None:
    with pytest.raises(ClientFault, match="404"):
        client.get_single_record(fresh())


def test_a_healthy_server_is_healthy(client: RealClient) -> None:
    assert client.health_check() is True


@pytest.mark.parametrize(
    "record_id", ["a b", "ü", "a+b", "a&b=c", "a;b", "a,b", "it's", "a[0]", "日本", "e\u0301", "*-._~", "a:b@c$!"]
)
def test_ids_of_any_characters_are_found(client: RealClient, record_id: str) -> None:
    written = record(f"{record_id}-{client.version}")
    client.add(written)
    assert client.query(record_id=written["record_id"]) == [understood(written)]
    assert client.get_single_record(written["record_id"]) == understood(written)


@pytest.mark.parametrize("record_id", ["a?b", "a#b", "100%", "a%2Fb", "..", "a|b", "line\nbreak"])
def test_ids_that_the_clients_do_not_encode_in_a_path_are_found_by_a_query(client: RealClient, record_id: str) -> None:
    written = record(f"{record_id}-{client.version}")
    client.add(written)
    assert client.query(record_id=written["record_id"]) == [understood(written)]


@pytest.mark.parametrize("kind", ["async", "blocking"])
@pytest.mark.parametrize("record_id", ["a/b", '<>(){}"\\', "/" * 256, "e\u0301" * 256])
def test_ids_that_older_clients_forbid_are_found(live_server: LiveServer, kind: str, record_id: str) -> None:
    with RealClient(NEW, kind, live_server.port) as client:
        client.add(record(record_id))
        assert client.query(record_id=record_id) == [understood(record(record_id))]


@pytest.mark.parametrize("kind", ["async", "blocking"])
@pytest.mark.parametrize(
    "name",
    [
        'quo"te',
        "back\\slash",
        "back\\",
        "a[b",
        "a]b",
        "[0]",
        "$.x",
        "a.b",
        "%",
        "_",
        "'; --",
        "ü",
        "é",
        "e\u0301",
        "42",
    ],
)
def test_meta_and_components_of_any_name_are_found(live_server: LiveServer, kind: str, name: str) -> None:
    written = record(fresh(), meta={name: [name]}, components=[component(name, 1)])
    with RealClient(NEW, kind, live_server.port) as client:
        client.add(written)
        for query in ({"meta": {name: {"contains": [name]}}}, {"component": {name: {"gte": 1}}}):
            assert understood(written) in client.query(**query)
            assert all(name in (found["meta"] or {}) for found in client.query(**query))


def test_a_record_that_can_never_be_stored_is_kept_as_a_dead_letter(live_server: LiveServer) -> None:
    """The client ignores the refusal and forgets the record, so the server keeps it."""
    with RealClient(NEW, "async", live_server.port) as client:
        name = fresh()
        client.add(record(f"{name}\0"))
        assert client.query(record_id=name) == []
    assert any(name in str(letter) for letter in live_server.letters())


@pytest.mark.parametrize("kind", ["async", "blocking"])
def test_our_client_says_so_when_a_record_is_refused(live_server: LiveServer, kind: str) -> None:
    with RealClient(OURS, kind, live_server.port) as client:
        name = fresh()
        with pytest.raises(ClientFault, match=r"400 Bad Request.*NUL"):
            client.add(record(f"{name}\0"))
        with pytest.raises(ClientFault, match="Invalid Name"):
            client.add(record("  "))
    assert any(name in str(letter) for letter in live_server.letters())


@pytest.mark.parametrize("kind", ["async", "blocking"])
@pytest.mark.parametrize("record_id", ["a/b", "a?b", "a#b", "100%", "a%2Fb", "..", '<>(){}"\\', "line\nbreak"])
def test_our_client_finds_ids_of_any_characters(live_server: LiveServer, kind: str, record_id: str) -> None:
    written = record(f"{record_id}-{fresh()}", meta={"big": ["x" * 250] * 100})
    with RealClient(OURS, kind, live_server.port) as client:
        client.add(written)
        assert client.get_single_record(written["record_id"]) == understood(written)


@pytest.mark.parametrize("version", [NEW, OURS])
def test_a_server_that_is_away_is_not_healthy(version: str) -> None:
    with RealClient(version, "async", free_port()) as client:
        assert client.health_check() is False
        with pytest.raises(ClientFault):
            client.add(record(fresh()))
