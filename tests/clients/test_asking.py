"""The real clients ask: every operator of their query builder, on records whose answers are worked out here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest

from tests.clients.client import NEW, ClientFault, RealClient
from tests.clients.records import component, record, understood
from tests.clients.server import LiveServer

Check = Callable[[dict[str, Any]], bool]

T0, T1, T2, T3, T4 = (f"2024-03-01T1{hour}:00:00+00:00" for hour in range(5))
FINE = "2024-03-01T12:00:00.000001+00:00"

RECORDS = [
    record("a", start_time=T0, stop_time=T1, meta={"site": ["A"]}, components=[component("cpu", 8, hs=1.0)]),
    record("b", start_time=T0, stop_time=T2, meta={"site": ["B", "b"]}, components=[component("cpu", 4)]),
    record("c", start_time=T1, stop_time=FINE, meta={"site": ["A", "B"]}, components=[component("mem", 300)]),
    record("d", start_time=T1, meta={"group": ["g h"], "1st": ["x"]}, components=[component("cpu", 2**40)]),
    record("e", start_time=T2, stop_time=T3, components=[component("mem", 5), component("cpu", 300)]),
    record("f", start_time=T2, stop_time=T2, meta={"site": []}, components=[component("cpu", 1), component("cpu", 9)]),
    record("g", start_time=FINE, stop_time=T4, meta={}, components=[component("cpu cores", 7)]),
]


@pytest.fixture(scope="module", autouse=True)
def stored(live_server: LiveServer) -> Iterator[None]:
    with RealClient(NEW, "async", live_server.port) as writer:
        writer.bulk_insert(RECORDS)
    yield


def at(text: str | None) -> datetime:
    return datetime.fromisoformat(text or "0001-01-01T00:00:00+00:00")


def runtime(item: dict[str, Any]) -> int | None:
    found = understood(item)["runtime"]
    return None if found is None else int(found)


def values(item: dict[str, Any], key: str) -> list[str] | None:
    found = (item["meta"] or {}).get(key)
    return None if found is None else list(found)


def amounts(item: dict[str, Any], name: str) -> list[int]:
    return [part["amount"] for part in item["components"] if part["name"] == name]


def in_order(chosen: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The default order: by stop time, those that still run last, ties as they were added."""
    return sorted(chosen, key=lambda item: (item["stop_time"] is None, at(item["stop_time"])))


QUERIES: dict[str, tuple[dict[str, Any], Check]] = {
    "nothing": ({}, lambda _: True),
    "record_id": ({"record_id": "c"}, lambda item: item["record_id"] == "c"),
    "unknown record_id": ({"record_id": "C"}, lambda _: False),
    "start gt": ({"start_time": {"gt": T1}}, lambda item: at(item["start_time"]) > at(T1)),
    "start gte": ({"start_time": {"gte": T1}}, lambda item: at(item["start_time"]) >= at(T1)),
    "start lt": ({"start_time": {"lt": T1}}, lambda item: at(item["start_time"]) < at(T1)),
    "start lte": ({"start_time": {"lte": T1}}, lambda item: at(item["start_time"]) <= at(T1)),
    "start equals": ({"start_time": {"equals": FINE}}, lambda item: item["start_time"] == FINE),
    "start between": (
        {"start_time": {"gt": T0, "lte": T2}},
        lambda item: at(T0) < at(item["start_time"]) <= at(T2),
    ),
    "start gt and gte": ({"start_time": {"gt": T0, "gte": T2}}, lambda item: at(item["start_time"]) >= at(T2)),
    "stop lt": ({"stop_time": {"lt": FINE}}, lambda item: bool(item["stop_time"]) and at(item["stop_time"]) < at(FINE)),
    "stop gte": ({"stop_time": {"gte": FINE}}, lambda item: at(item["stop_time"]) >= at(FINE)),
    "stop day": ({"stop_time": {"gte": T2, "lt": T3}}, lambda item: at(T2) <= at(item["stop_time"]) < at(T3)),
    "runtime gt": ({"runtime": {"gt": 3600}}, lambda item: (runtime(item) or 0) > 3600),
    "runtime gte": ({"runtime": {"gte": 3600}}, lambda item: (runtime(item) or 0) >= 3600),
    "runtime lt": ({"runtime": {"lt": 3600}}, lambda item: runtime(item) is not None and (runtime(item) or 0) < 3600),
    "runtime lte": (
        {"runtime": {"lte": 3600}},
        lambda item: runtime(item) is not None and (runtime(item) or 0) <= 3600,
    ),
    "runtime equals": ({"runtime": {"equals": 0}}, lambda item: runtime(item) == 0),
    "runtime beyond": ({"runtime": {"equals": 2**64 - 1}}, lambda _: False),
    "runtime below beyond": ({"runtime": {"lt": 2**64 - 1}}, lambda item: runtime(item) is not None),
    "meta contains": ({"meta": {"site": {"contains": ["A"]}}}, lambda item: "A" in (values(item, "site") or [])),
    "meta lacks": (
        {"meta": {"site": {"does_not_contain": ["A"]}}},
        lambda item: values(item, "site") is not None and "A" not in (values(item, "site") or []),
    ),
    "meta both": (
        {"meta": {"site": {"contains": ["B"], "does_not_contain": ["A"]}}},
        lambda item: "B" in (values(item, "site") or []) and "A" not in (values(item, "site") or []),
    ),
    "meta blank": ({"meta": {"group": {"contains": ["g h"]}}}, lambda item: values(item, "group") == ["g h"]),
    "meta key with a digit": ({"meta": {"1st": {"contains": ["x"]}}}, lambda item: values(item, "1st") == ["x"]),
    "meta of two keys": (
        {"meta": {"group": {"contains": ["g h"]}, "1st": {"does_not_contain": ["y"]}}},
        lambda item: values(item, "group") is not None,
    ),
    "component gt": ({"component": {"cpu": {"gt": 8}}}, lambda item: any(x > 8 for x in amounts(item, "cpu"))),
    "component gte": ({"component": {"cpu": {"gte": 8}}}, lambda item: any(x >= 8 for x in amounts(item, "cpu"))),
    "component lt": ({"component": {"cpu": {"lt": 8}}}, lambda item: any(x < 8 for x in amounts(item, "cpu"))),
    "component lte": ({"component": {"mem": {"lte": 5}}}, lambda item: any(x <= 5 for x in amounts(item, "mem"))),
    "component equals": ({"component": {"cpu": {"equals": 2**40}}}, lambda item: 2**40 in amounts(item, "cpu")),
    "component between": (
        {"component": {"cpu": {"gt": 1, "lt": 9}}},
        lambda item: any(1 < x < 9 for x in amounts(item, "cpu")),
    ),
    "component name": ({"component": {"cpu cores": {"gt": 0}}}, lambda item: bool(amounts(item, "cpu cores"))),
    "two components": (
        {"component": {"cpu": {"gt": 1}, "mem": {"gt": 1}}},
        lambda item: bool(amounts(item, "cpu") and amounts(item, "mem")),
    ),
    "everything": (
        {
            "record_id": "a",
            "start_time": {"gte": T0},
            "stop_time": {"lt": T2},
            "runtime": {"gte": 1},
            "meta": {"site": {"contains": ["A"]}},
            "component": {"cpu": {"gt": 1}},
            "sort_by": ["ascending", "record_id"],
            "limit": 10,
        },
        lambda item: item["record_id"] == "a",
    ),
}


@pytest.mark.parametrize("name", QUERIES)
def test_every_operator_selects_what_it_says(client: RealClient, name: str) -> None:
    query, check = QUERIES[name]
    assert client.query(**query) == [understood(item) for item in in_order(RECORDS) if check(item)]


@pytest.mark.parametrize(
    ("names", "wanted"),
    [(["A", "B"], ["c"]), (["B", "A"], ["c"]), (["A", "C"], []), (["b", "B"], ["b"])],
)
@pytest.mark.parametrize("kind", ["async", "blocking"])
def test_several_meta_values_must_all_be_there(
    live_server: LiveServer, kind: str, names: list[str], wanted: list[str]
) -> None:
    with RealClient(NEW, kind, live_server.port) as client:
        found = client.query(meta={"site": {"contains": names}})
        assert [item["record_id"] for item in found] == wanted
        found = client.query(meta={"site": {"does_not_contain": names}})
        assert {item["record_id"] for item in found} == {
            item["record_id"]
            for item in RECORDS
            if values(item, "site") is not None and not set(values(item, "site") or []) & set(names)
        }


COLUMNS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "start_time": lambda item: at(item["start_time"]),
    "stop_time": lambda item: item["stop_time"] and at(item["stop_time"]),
    "runtime": runtime,
    "record_id": lambda item: item["record_id"],
}


@pytest.mark.parametrize("direction", ["ascending", "descending"])
@pytest.mark.parametrize("column", COLUMNS)
def test_answers_come_in_the_order_asked_for(client: RealClient, column: str, direction: str) -> None:
    value = COLUMNS[column]
    with_value = sorted((value(item) for item in RECORDS if value(item) is not None), reverse=direction == "descending")
    without = [None] * (len(RECORDS) - len(with_value))
    stored = {item["record_id"]: item for item in RECORDS}
    found = [value(stored[item["record_id"]]) for item in client.query(sort_by=[direction, column])]
    assert found == (with_value + without if direction == "ascending" else without + with_value)


@pytest.mark.parametrize("limit", [0, 1, 3, 7, 100])
def test_a_limit_is_the_most_that_is_answered(client: RealClient, limit: int) -> None:
    assert client.query(limit=limit) == [understood(item) for item in in_order(RECORDS)[:limit]]


def test_everything_is_answered_without_a_query(client: RealClient) -> None:
    assert client.get() == [understood(item) for item in in_order(RECORDS)]


def test_the_deprecated_questions_are_answered(client: RealClient) -> None:
    assert [item["record_id"] for item in client.get_started_since(T2)] == ["f", "e", "g"]
    assert [item["record_id"] for item in client.get_stopped_since(T3)] == ["e", "g"]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("record_id=a", ["a"]),
        ("meta[site][c][]=A&limit=1", ["a"]),
        ("meta%5Bsite%5D%5Bc%5D%5B0%5D=A&sort_by%5Bdesc%5D=record_id", ["c", "a"]),
        ("stop_time[gte]=2024-03-01T13:00:00Z&&limit=5&", ["e", "g"]),
        ("stop_time[gte]=2024-03-01T12:00:00Z&stop_time[lt]=2024-03-01T13:00:00Z", ["b", "f", "c"]),
    ],
)
def test_query_strings_written_by_hand_are_understood(client: RealClient, text: str, wanted: list[str]) -> None:
    assert [item["record_id"] for item in client.query_text(text)] == wanted


@pytest.mark.parametrize("text", ["foo=1", "start_time[eq]=x", "limit=1&limit=2", "meta[site][equals]=A", "limit=-1"])
def test_a_query_that_asks_nothing_raises(client: RealClient, text: str) -> None:
    with pytest.raises(ClientFault, match="400"):
        client.query_text(text)
