from __future__ import annotations

import pytest

from tests.serve.live import Live, record
from tests.serve.memory import MemoryStore

PATH = "/v2/records/a%2Fb"


@pytest.fixture
def store(shared: tuple[Live, MemoryStore]) -> MemoryStore:
    shared[1].clear()
    shared[1].kept.clear()
    return shared[1]


@pytest.fixture
def server(shared: tuple[Live, MemoryStore], store: MemoryStore) -> Live:
    assert shared[0].post("/record", record("a/b")).status == 200
    return shared[0]


def test_a_correction_is_kept_with_who_when_and_why(server: Live) -> None:
    change = {"why": "wrong site", "record": record("a/b", meta={"site": ["B"]})}
    answer = server.post(f"{PATH}/corrections", change)
    assert (answer.status, answer.json()) == (200, {"outcome": "done"})
    assert server.ask("GET", "/record/a%2Fb").json()["meta"] == {"site": ["B"]}
    (version,) = server.ask("GET", f"{PATH}/versions").json()
    assert version["record"]["meta"] == {"site": ["A"], "user": ["u"]}
    assert {key: version[key] for key in ("number", "ended", "who", "why", "at")} == {
        "number": 1,
        "ended": "corrected",
        "who": "anyone",
        "why": "wrong site",
        "at": "2024-05-06T07:08:09Z",
    }


def test_a_withdrawn_record_is_gone_and_its_versions_are_not(server: Live) -> None:
    assert server.post(f"{PATH}/withdrawal", {"why": "a test job"}).status == 200
    assert server.ask("GET", "/record/a%2Fb").status == 404
    assert [one["ended"] for one in server.ask("GET", f"{PATH}/versions").json()] == ["withdrawn"]
    assert server.post(f"{PATH}/withdrawal", {"why": "again"}).status == 404


@pytest.mark.parametrize(
    ("tail", "body", "status"),
    [
        ("corrections", {"why": " ", "record": record("a/b")}, 400),
        ("corrections", {"why": "w", "record": record("other")}, 400),
        ("corrections", {"why": "w", "record": record("a/b", start_time=5)}, 400),
        ("corrections", {"record": record("a/b")}, 400),
        ("withdrawal", [], 400),
        ("withdrawal", {"why": ""}, 400),
    ],
)
def test_a_change_that_makes_no_sense_changes_nothing(server: Live, tail: str, body: object, status: int) -> None:
    before = server.ask("GET", "/record/a%2Fb").body
    assert server.post(f"{PATH}/{tail}", body).status == status
    assert server.ask("GET", "/record/a%2Fb").body == before


def test_what_is_not_there_has_no_history(server: Live) -> None:
    assert server.ask("GET", "/v2/records/none/versions").status == 404
    assert server.ask("GET", "/v2/records/a%2Fb/nothing").status == 404
    assert server.ask("GET", f"{PATH}/corrections").status == 405
