"""`as_of` from outside: every form of an answer about an instant, over a real store and its archive."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from jobmeter.model.access import Grant, Limits, Role
from jobmeter.model.record import microseconds
from jobmeter.model.token import Token
from jobmeter.serve.access import AccessSettings
from jobmeter.serve.secret import digest_of
from jobmeter.serve.settings import ServeSettings
from jobmeter.store.open import open_store
from jobmeter.store.tokens import Tokens
from tests.serve.live import Live, live, record
from tests.store.archive.material import archived

LINES = "application/x-ndjson"
START = datetime(2024, 5, 1, tzinfo=UTC)


class Days:
    """A clock that is set to a day of May."""

    day = 1

    def now(self) -> datetime:
        return START.replace(day=self.day)


def of_site(name: str, site: str, cores: int = 8) -> dict[str, object]:
    return record(name, meta={"site_id": [site]}, components=[{"name": "Cores", "amount": cores, "scores": []}])


@pytest.fixture(params=[False, True], ids=["in the database", "archived"])
def server(request: pytest.FixtureRequest, database_url: str, tmp_path: Path) -> Iterator[Live]:
    """Its records changed day by day: a was corrected on the 3rd, b withdrawn on the 4th, c came on the 5th."""
    store, tokens, clock = open_store(database_url), Tokens(database_url), Days()
    store.now = lambda: microseconds(clock.now())
    for secret, grant in (("all", Grant(frozenset(Role))), ("only-b", Grant(frozenset({Role.READ}), Limits(("B",))))):
        tokens.add(Token(secret, (grant,), START), digest_of(secret))
    settings = ServeSettings(access=AccessSettings(required=True))
    with live(store, settings, tokens, clock=clock) as running:
        shown = {"authorization": "Bearer all", "content-type": "application/json"}

        def told(day: int, path: str, body: object) -> None:
            clock.day = day
            assert running.post(path, body, shown).status == 200

        told(2, "/records", [of_site("a", "A"), of_site("b", "A")])
        told(3, "/v2/records/a/corrections", {"why": "w", "record": of_site("a", "B", 4)})
        told(4, "/v2/records/b/withdrawal", {"why": "w"})
        told(5, "/record", of_site("c", "B"))
        if request.param:
            assert archived(store, tmp_path / "archive")
        yield running
    tokens.close()
    store.close()


def ask(server: Live, path: str, accept: str = "application/json", secret: str = "all") -> object:
    answer = server.ask("GET", path, headers={"accept": accept, "authorization": f"Bearer {secret}"})
    assert answer.status == 200, answer.body
    if accept == "application/json":
        return answer.json()
    if accept == "text/csv":
        return list(csv.DictReader(io.StringIO(answer.body.decode())))
    if accept == LINES:
        return [json.loads(line) for line in answer.body.splitlines()]
    return answer.body


IDS = {1: [], 2: ["a", "b"], 3: ["a", "b"], 4: ["a"], 5: ["a", "c"]}


def test_every_form_of_the_list_is_of_the_instant(server: Live, tmp_path: Path) -> None:
    for day in IDS:
        look_at(server, day, tmp_path / f"{day}.parquet")


def look_at(server: Live, day: int, parquet: Path) -> None:
    query = f"as_of=2024-05-{day:02d}T00:00:00Z&sort_by[asc]=record_id"
    listed = ask(server, f"/v2/records?{query}")
    assert isinstance(listed, dict)
    assert [one["record_id"] for one in listed["records"]] == IDS[day]
    for path, accept in (
        ("/v2/records", "application/x-ndjson"),
        ("/v2/records", "text/csv"),
        ("/records", "application/x-ndjson"),
    ):
        found = ask(server, f"{path}?{query}", accept)
        assert isinstance(found, list)
        assert [one["record_id"] for one in found] == IDS[day]
    if IDS[day]:
        body = ask(server, f"/v2/records?{query}", "application/vnd.apache.parquet")
        assert isinstance(body, bytes)
        parquet.write_bytes(body)
        assert duckdb.execute(f"SELECT record_id FROM '{parquet}'").fetchall() == [(name,) for name in IDS[day]]
    counted = ask(server, f"/v2/totals?as_of=2024-05-{day:02d}T00:00:00Z")
    assert isinstance(counted, dict)
    assert [group["values"] for group in counted["groups"]] == ([[len(IDS[day])]] if IDS[day] else [])


def test_pages_of_an_instant_are_linked_and_keep_it(server: Live) -> None:
    path: str | None = "/v2/records?as_of=2024-05-03T00:00:00Z&limit=1"
    found = []
    while path is not None:
        answer = server.ask("GET", path, headers={"authorization": "Bearer all"})
        found += [one["record_id"] for one in answer.json()["records"]]
        link = answer.headers.get("link")
        path = None if link is None else link.removeprefix("<").removesuffix('>; rel="next"')
    assert found == ["a", "b"]
    first = server.ask("GET", "/v2/records?as_of=2024-05-03T00:00:00Z&limit=1", headers={"authorization": "Bearer all"})
    other = f"/v2/records?as_of=2024-05-02T00:00:00Z&limit=1&cursor={first.json()['next']}"
    assert server.ask("GET", other, headers={"authorization": "Bearer all"}).status == 400


def test_filters_totals_and_scope_look_at_the_state_of_the_instant(server: Live) -> None:
    assert ask(server, "/v2/records?as_of=2024-05-02T00:00:00Z&meta[site_id][c][0]=B") == {"records": [], "next": None}
    asked = "group_by=site_id&sum=Cores,count&as_of=2024-05-0"
    groups = {day: ask(server, f"/v2/totals?{asked}{day}T00:00:00Z")["groups"] for day in (2, 3, 5)}  # type: ignore[index]
    assert {day: [(*each["key"], *each["values"]) for each in found] for day, found in groups.items()} == {
        2: [("A", 16, 2)],
        3: [("A", 8, 1), ("B", 4, 1)],
        5: [("B", 12, 2)],
    }
    for day, seen in ((2, []), (3, ["a"]), (5, ["a", "c"])):
        listed = ask(server, f"/v2/records?as_of=2024-05-{day:02d}T00:00:00Z", secret="only-b")
        assert [one["record_id"] for one in listed["records"]] == seen  # type: ignore[index]
        status = server.ask(
            "GET", f"/record/a?as_of=2024-05-{day:02d}T00:00:00Z", headers={"authorization": "Bearer only-b"}
        ).status
        assert status == (200 if seen else 404)


def test_one_record_is_as_it_was(server: Live) -> None:
    sites = [ask(server, f"/record/a?as_of=2024-05-0{day}T00:00:00Z")["meta"]["site_id"] for day in (2, 3)]  # type: ignore[index]
    assert sites == [["A"], ["B"]]
    assert server.ask("GET", "/record/b", headers={"authorization": "Bearer all"}).status == 404
    assert ask(server, "/record/b?as_of=2024-05-03T23:59:59.999999Z")


NO_INSTANTS = {
    "as_of=2024-05-06T00:00:00Z": "as_of: lies in the future: it is 2024-05-05T00:00:00Z",
    "as_of=yesterday": "as_of: ",
    "as_of=2024-05-01": "as_of: ",
    "as_of[gte]=2024-05-01T00:00:00Z": "as_of",
    "as_of=2024-05-01T00:00:00Z&as_of=2024-05-01T00:00:00Z": "as_of",
    f"as_of={'9' * 40}": "as_of: ",
}


def test_an_instant_that_is_none_or_has_not_come_is_told(server: Live) -> None:
    for path in ("/v2/records", "/records", "/v2/totals", "/record/a"):
        for asked, says in NO_INSTANTS.items():
            answer = server.ask("GET", f"{path}?{asked}", headers={"authorization": "Bearer all"})
            assert answer.status == 400
            assert says in answer.json()["error"]


def test_a_record_takes_no_other_question(server: Live) -> None:
    answer = server.ask("GET", "/record/a?as-of=2024-05-02T00:00:00Z", headers={"authorization": "Bearer all"})
    assert (answer.status, answer.json()["error"]) == (400, "unknown field `as-of`, expected `as_of`")
