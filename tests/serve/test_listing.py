"""`GET /v2/records` from outside, over real stores where the form of the answer depends on them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from jobmeter.contract import RecordStore
from jobmeter.store.open import open_store
from tests.given import record
from tests.serve.live import Answer, Live, live
from tests.serve.memory import MemoryStore

PARQUET = "application/vnd.apache.parquet"


@pytest.fixture
def served(store: RecordStore) -> Iterator[Live]:
    store.put(
        [
            record(
                f"r{number:03d}",
                start=number,
                stop=None if number % 50 == 0 else number + 1.5,
                meta={"site_id": (f"S{number % 2}",), "note": ("=1+1", "b")} if number % 3 else None,
                components=(("Cores", number), ('Odd, "name"', 2**62)),
            )
            for number in range(101)
        ]
    )
    with live(store) as running:
        yield running


@pytest.fixture
def store(sqlite_url: str) -> Iterator[RecordStore]:
    opened = open_store(sqlite_url)
    yield opened
    opened.close()


def ask(server: Live, query: str, accept: str = "application/json") -> Answer:
    return server.ask("GET", f"/v2/records?{query}", headers={"accept": accept})


def next_query(answer: Answer) -> str | None:
    link = answer.headers.get("link")
    return None if link is None else link.removeprefix("</v2/records?").removesuffix('>; rel="next"')


def test_json_pages_follow_their_links_to_the_end(served: Live) -> None:
    query: str | None = "limit=30&sort_by[desc]=start_time"
    sizes, seen = [], []
    while query is not None:
        answer = ask(served, query)
        assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
        page = answer.json()
        assert (page["next"] is None) == ("link" not in answer.headers)
        sizes.append(len(page["records"]))
        seen += [one["record_id"] for one in page["records"]]
        query = next_query(answer)
    assert sizes == [30, 30, 30, 11]
    assert seen == sorted(seen, reverse=True)


def test_the_cursor_of_the_body_is_that_of_the_header(served: Live) -> None:
    answer = ask(served, "limit=3&meta[note][c][0]=b")
    assert f"cursor={answer.json()['next']}" in (next_query(answer) or "")
    assert "meta[note][c][0]=b" in (next_query(answer) or "")


def test_lines_come_whole_without_a_limit_and_as_pages_with_one(served: Live) -> None:
    whole = ask(served, "", "application/x-ndjson")
    assert whole.headers["content-type"] == "application/x-ndjson"
    assert len(whole.body.splitlines()) == 101
    first = ask(served, "limit=60", "application/x-ndjson")
    second = ask(served, next_query(first) or "", "application/x-ndjson")
    assert first.body + second.body == whole.body
    assert next_query(second) is None


def test_csv_has_heads_and_harmless_cells(served: Live) -> None:
    answer = ask(served, "columns=record_id,meta.note,component.Cores,score.Cores.HEPSPEC,runtime", "text/csv")
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.reader(io.StringIO(answer.body.decode(), newline="")))
    assert rows[0] == ["record_id", "meta.note", "component.Cores", "score.Cores.HEPSPEC", "runtime"]
    by_id = {row[0]: row[1:] for row in rows[1:]}
    assert len(by_id) == 101
    assert by_id["r001"] == ["'=1+1;b", "1", "1.5", "1"]
    assert by_id["r000"] == ["", "0", "1.5", ""]


def test_csv_finds_its_columns(served: Live) -> None:
    rows = list(csv.reader(io.StringIO(ask(served, "columns=found", "text/csv").body.decode(), newline="")))
    assert "meta.site_id" in rows[0]
    assert 'component.Odd, "name"' in rows[0]
    assert "score.Cores.HEPSPEC" in rows[0]
    assert rows[0][-2:] == ["components", "meta"]
    assert len(rows) == 102


def test_csv_of_nothing_is_its_heads(served: Live) -> None:
    assert ask(served, "record_id=nobody", "text/csv").body.count(b"\r\n") == 1
    assert ask(served, "record_id=nobody&limit=5", "text/csv").body.count(b"\r\n") == 1


@pytest.mark.parametrize("query", ["", "limit=1000"])
def test_parquet_holds_every_record_with_types(served: Live, tmp_path: Path, query: str) -> None:
    answer = ask(served, query, PARQUET)
    assert (answer.status, answer.headers["content-type"]) == (200, PARQUET)
    path = tmp_path / "answer.parquet"
    path.write_bytes(answer.body)
    with duckdb.connect() as reader:
        rows = reader.execute(
            "SELECT count(*), sum(list_filter(components, lambda c: c.name = 'Cores')[1].amount), "
            "count(stop_time), count(meta), sum(epoch_us(stop_time) - epoch_us(start_time)) FROM read_parquet(?)",
            [str(path)],
        ).fetchall()
        assert rows == [(101, 5050, 98, 67, 98 * 1_500_000)]
        one = reader.execute("SELECT meta['note'] FROM read_parquet(?) WHERE record_id = 'r001'", [str(path)])
        assert one.fetchall() == [(["=1+1", "b"],)]


def test_parquet_of_nothing_is_a_file_without_rows(served: Live, tmp_path: Path) -> None:
    for query in ("record_id=nobody", "record_id=nobody&limit=3"):
        path = tmp_path / "empty.parquet"
        path.write_bytes(ask(served, query, PARQUET).body)
        with duckdb.connect() as reader:
            assert reader.execute("SELECT count(*) FROM read_parquet(?)", [str(path)]).fetchall() == [(0,)]


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("text/csv;q=0.5, application/json;q=0.4", "text/csv"),
        ("text/html, application/*;q=0.1", "application/json"),
        ("application/jsonl", "application/x-ndjson"),
        ("text/csv;q=0, */*", "application/json"),
    ],
)
def test_accept_chooses_the_form(server: Live, accept: str, content_type: str) -> None:
    assert ask(server, "", accept).headers["content-type"].startswith(content_type)


def test_a_form_that_is_not_there_is_a_406(server: Live) -> None:
    assert ask(server, "", "application/pdf").status == 406


@pytest.mark.parametrize(
    "query", ["cursor=nonsense", "columns=password", "columns=found,record_id", "foo=1", "limit=x"]
)
def test_a_listing_that_is_not_understood_is_a_400(server: Live, query: str) -> None:
    assert ask(server, query).status == 400


def test_a_store_that_is_away_is_a_503() -> None:
    away = MemoryStore()
    away.away = True
    with live(away) as server:
        for accept in ("application/json", "application/x-ndjson", "text/csv", PARQUET):
            assert ask(server, "", accept).status == 503
