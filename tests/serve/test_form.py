"""`format=` in a query string: what a link on a page can say in place of the header `Accept`."""

from __future__ import annotations

import pytest

from jobmeter.query.fault import BadQuery
from jobmeter.serve.form import Form, form_asked
from tests.serve.live import Live, record

BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/v2/records?format=csv", "text/csv"),
        ("/v2/records?limit=5&format=ndjson", "application/x-ndjson"),
        ("/v2/records?limit=5&format=json", "application/json"),
        ("/v2/totals?group_by=month&format=csv", "text/csv"),
        ("/v2/totals?group_by=month", "application/json"),
    ],
)
def test_a_link_says_the_form_whatever_the_browser_accepts(server: Live, path: str, content_type: str) -> None:
    server.post("/record", record("r1"))
    answer = server.ask("GET", path, headers=BROWSER)
    assert answer.status == 200
    assert answer.headers["content-type"].startswith(content_type)


def test_a_form_that_there_is_not_is_refused_with_those_there_are(server: Live) -> None:
    answer = server.ask("GET", "/v2/records?format=xml")
    assert answer.status == 400
    assert "json, ndjson, csv, parquet" in answer.json()["error"]


def test_a_form_that_is_said_twice_is_refused() -> None:
    with pytest.raises(BadQuery):
        form_asked({"query_string": b"format=csv&format=json", "headers": []})


def test_the_wish_is_no_part_of_the_question() -> None:
    scope = {"query_string": b"limit=5&format=csv&sort_by[desc]=stop_time", "headers": []}
    assert form_asked(scope) == (Form.CSV, b"limit=5&sort_by[desc]=stop_time")
