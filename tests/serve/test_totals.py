from __future__ import annotations

import csv
import io
import json
from decimal import Decimal

import pytest

from tests.serve.live import Live, record
from tests.serve.memory import MemoryStore

BIG = 2**63 - 1


@pytest.fixture
def store(shared: tuple[Live, MemoryStore]) -> MemoryStore:
    shared[1].clear()
    return shared[1]


@pytest.fixture
def server(shared: tuple[Live, MemoryStore], store: MemoryStore) -> Live:
    live = shared[0]
    cores = {"name": "Cores", "amount": BIG, "scores": [{"name": "HS", "value": 0.1}]}
    times = {"start_time": "2024-01-31T23:00:00Z", "stop_time": "2024-02-01T00:00:00.5Z"}
    live.post("/record", record("1", meta={"site_id": ["A, B"]}, components=[cores], **times))
    live.post("/record", record("2", meta=None, components=[], **times))
    return live


def test_groups_in_json_keep_every_digit(server: Live) -> None:
    query = "group_by=site_id,month&sum=Cores*runtime,Cores*HS,duration&max=stop_time"
    answer = server.ask("GET", f"/v2/totals?{query}")
    assert answer.status == 200
    assert json.loads(answer.body, parse_float=Decimal) == {
        "group_by": ["site_id", "month"],
        "measures": ["Cores*runtime", "Cores*score.HS", "duration", "max.stop_time"],
        "groups": [
            {
                "key": ["A, B", "2024-02"],
                "values": [BIG * 3600, Decimal(BIG) / 10, Decimal("3600.5"), "2024-02-01T00:00:00.500000Z"],
                "counted": [1, 1, 1, 1],
            },
            {
                "key": [None, "2024-02"],
                "values": [None, None, Decimal("3600.5"), "2024-02-01T00:00:00.500000Z"],
                "counted": [0, 0, 1, 1],
            },
        ],
    }


def test_groups_in_csv(server: Live) -> None:
    answer = server.ask("GET", "/v2/totals?group_by=site_id&sum=Cores,count", headers={"accept": "text/csv"})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert list(csv.reader(io.StringIO(answer.body.decode()))) == [
        ["site_id", "Cores", "count", "Cores counted", "count counted"],
        ["A, B", str(BIG), "1", "1", "1"],
        ["", "", "1", "0", "1"],
    ]


def test_a_question_that_is_not_understood_is_a_400(server: Live) -> None:
    answer = server.ask("GET", "/v2/totals?group_by=a*b")
    assert answer.status == 400
    assert "a dimension is no product" in answer.json()["error"]


def test_a_store_that_is_away_is_a_503(server: Live, store: MemoryStore) -> None:
    store.away = True
    answer = server.ask("GET", "/v2/totals")
    assert answer.status == 503
    assert answer.headers["retry-after"] == "5"


def test_a_site_that_a_spreadsheet_would_take_for_a_formula_is_text_in_csv(server: Live) -> None:
    times = {"start_time": "2024-01-31T23:00:00Z", "stop_time": "2024-02-01T00:00:00Z"}
    server.post("/record", record("3", meta={"site_id": ["=1+1"]}, components=[], **times))
    answer = server.ask("GET", "/v2/totals?group_by=site_id&sum=count&format=csv")
    assert b"\n'=1+1,1,1\r\n" in answer.body
