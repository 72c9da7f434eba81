"""Conflicts on a real database behind a real server: kept once, decided once, by those who may."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from jobmeter.contract import RecordStore
from jobmeter.model.access import Grant, Limits, Role
from jobmeter.model.conflict import Conflict, Decision
from jobmeter.model.token import Token
from jobmeter.model.version import Edit
from jobmeter.serve.access import AccessSettings
from jobmeter.serve.secret import digest_of
from jobmeter.serve.settings import ConflictSettings, DatabaseMetrics, Metrics, ServeSettings
from jobmeter.serve.table import Beside
from jobmeter.store.conflicts import Conflicts
from jobmeter.store.open import ArchivingStore, open_store
from jobmeter.store.tokens import Tokens
from tests.serve.live import JSON, FixedClock, Live, live, record, until
from tests.store.archive.material import archived, hot_ids

SITES = {site: record(meta={"site_id": [site]}) for site in "AB"}
EPILOG = record(meta={"collector_type": ["slurm-epilog"]}, components=[])
SACCT = record(meta={"collector_type": ["slurm"]})
PRECEDENCE = ConflictSettings(precedence=("slurm-epilog", "slurm"))


@pytest.fixture
def store(database_url: str) -> Iterator[ArchivingStore]:
    """A real one, in place of the one in memory."""
    opened = open_store(database_url)
    yield opened
    opened.close()


@contextmanager
def serving(store: RecordStore, url: str, settings: ServeSettings, tokens: Tokens | None = None) -> Iterator[Live]:
    kept = Conflicts(url)
    with ExitStack() as stack:
        stack.callback(kept.close)
        yield stack.enter_context(live(store, settings, tokens, beside=Beside(conflicts=kept)))


@pytest.fixture
def server(store: RecordStore, database_url: str) -> Iterator[Live]:
    counted = Metrics(database=DatabaseMetrics(frequency=0.05))
    with serving(store, database_url, ServeSettings(metrics=counted)) as running:
        yield running


@pytest.fixture
def disputed(server: Live) -> Live:
    """One record is stored, another of its id was sent, three times."""
    assert server.post("/record", SITES["A"]).status == 200
    assert server.post("/record", SITES["B"]).status == 409
    assert server.post("/records", [SITES["B"], record("other")]).status == 409
    assert server.post("/v2/records", [SITES["B"]]).json()["outcomes"][0]["outcome"] == "conflict"
    return server


def stored(server: Live) -> object:
    return server.ask("GET", "/record/r1").json()["meta"]


def rule(server: Live, decision: str, number: int = 1) -> tuple[int, object]:
    answer = server.post(f"/v2/conflicts/{number}", {"decision": decision, "why": "looked it up"})
    return answer.status, answer.json().get("outcome")


def test_a_conflict_is_kept_once_with_who_sent_it_and_what_is_stored(disputed: Live) -> None:
    (one,) = disputed.ask("GET", "/v2/conflicts").json()
    assert (one["number"], one["record_id"], one["origin"], one["sent"]) == (1, "r1", "127.0.0.1", 3)
    assert disputed.ask("GET", "/v2/dead-letters").json() == []
    assert (one["received"], one["decision"]) == ("2024-05-06T07:08:09Z", None)
    assert one["record"]["meta"] == {"site_id": ["B"]}
    assert one["stored"]["meta"] == {"site_id": ["A"]}
    until(lambda: disputed.metric("jobmeter_conflicts_open") == 1)


def test_taking_makes_a_version_and_a_repeat_of_either_is_no_conflict(disputed: Live) -> None:
    assert rule(disputed, "take") == (200, "done")
    assert stored(disputed) == {"site_id": ["B"]}
    (version,) = disputed.ask("GET", "/v2/records/r1/versions").json()
    assert (version["record"]["meta"], version["who"], version["why"]) == ({"site_id": ["A"]}, "anyone", "looked it up")
    assert disputed.post("/record", SITES["B"]).status == 200
    assert disputed.post("/record", SITES["A"]).status == 409
    assert disputed.ask("GET", "/v2/conflicts").json() == []
    (one,) = disputed.ask("GET", "/v2/conflicts?state=decided").json()
    assert (one["decision"], one["who"], one["why"]) == ("take", "anyone", "looked it up")
    until(lambda: disputed.metric("jobmeter_conflicts_open") == 0)


def test_a_conflict_is_decided_once(disputed: Live) -> None:
    assert rule(disputed, "keep") == (200, "done")
    assert rule(disputed, "keep") == (200, "same")
    assert rule(disputed, "take")[0] == 409
    assert stored(disputed) == {"site_id": ["A"]}
    assert disputed.post("/record", SITES["B"]).status == 409
    assert disputed.ask("GET", "/v2/conflicts").json() == []
    assert rule(disputed, "take", 2)[0] == 404
    assert disputed.post("/v2/conflicts/x", {}).status == 400
    assert disputed.post("/v2/conflicts/1", {"decision": "take", "why": ""}).status == 400
    assert disputed.ask("GET", "/v2/conflicts?limit=0").status == 400
    assert disputed.ask("GET", "/v2/conflicts?state=open&state=open").status == 400


def test_a_withdrawn_record_is_not_replaced(disputed: Live) -> None:
    assert disputed.post("/v2/records/r1/withdrawal", {"why": "a test"}).status == 200
    (one,) = disputed.ask("GET", "/v2/conflicts").json()
    assert one["stored"] is None
    assert rule(disputed, "take")[0] == 409
    assert rule(disputed, "keep") == (200, "done")


@pytest.mark.parametrize("decision", ["keep", "take"])
def test_a_conflict_with_an_archived_record_is_decided(
    store: ArchivingStore, database_url: str, tmp_path: Path, decision: str
) -> None:
    with serving(store, database_url, ServeSettings()) as server:
        server.post("/records", [SITES["A"], record("other")])
        assert archived(store, tmp_path / "archive")
        assert server.post("/record", SITES["A"]).status == 200
        assert server.post("/record", SITES["B"]).status == 409
        (one,) = server.ask("GET", "/v2/conflicts").json()
        assert (one["stored"]["meta"], one["record"]["meta"]) == ({"site_id": ["A"]}, {"site_id": ["B"]})
        assert rule(server, decision) == (200, "done")
        assert rule(server, decision) == (200, "same")
        taken = decision == "take"
        assert hot_ids(store) == ({"r1"} if taken else set())
        assert stored(server) == {"site_id": ["B" if taken else "A"]}
        assert len(server.ask("GET", "/v2/records/r1/versions").json()) == taken
        assert server.ask("GET", "/v2/totals").json()["groups"][0]["values"] == [2]
        assert archived(store, tmp_path / "archive") if taken else True
        assert stored(server) == {"site_id": ["B" if taken else "A"]}
        assert [server.post("/record", SITES[site]).status for site in "AB"] == ([409, 200] if taken else [200, 409])
        assert server.ask("GET", "/v2/conflicts").json() == []
    assert store.check_rollups() == store.check_versions() == []


def test_an_archived_record_is_corrected_and_withdrawn(
    store: ArchivingStore, database_url: str, tmp_path: Path
) -> None:
    with serving(store, database_url, ServeSettings()) as server:
        server.post("/records", [SITES["A"], record("other")])
        assert archived(store, tmp_path / "archive")
        change = {"why": "wrong site", "record": SITES["B"]}
        assert server.post("/v2/records/r1/corrections", change).json() == {"outcome": "done"}
        assert stored(server) == {"site_id": ["B"]}
        assert archived(store, tmp_path / "archive")
        assert server.post("/v2/records/r1/withdrawal", {"why": "a test job"}).json() == {"outcome": "done"}
        assert server.post("/v2/records/other/withdrawal", {"why": "a test job"}).json() == {"outcome": "done"}
        assert server.ask("GET", "/v2/records").json()["records"] == []
        assert server.ask("GET", "/v2/totals").json()["groups"] == []
        assert [one["ended"] for one in server.ask("GET", "/v2/records/r1/versions").json()] == [
            "corrected",
            "withdrawn",
        ]
        assert [server.post("/record", one).status for one in (SITES["B"], SITES["A"])] == [200, 409]
        assert hot_ids(store) == set()
    assert store.counts() == {"": 0}
    assert store.check_rollups() == store.check_versions() == []


def test_precedence_holds_for_an_archived_record(store: ArchivingStore, database_url: str, tmp_path: Path) -> None:
    with serving(store, database_url, ServeSettings(conflicts=PRECEDENCE)) as server:
        server.post("/record", EPILOG)
        assert archived(store, tmp_path / "archive")
        assert [server.post("/record", one).status for one in (SACCT, EPILOG)] == [200, 200]
        assert server.ask("GET", "/record/r1").json()["components"] != []
        assert server.ask("GET", "/v2/conflicts").json() == []


def test_the_limits_of_the_asker_hold_for_both_records(store: RecordStore, database_url: str) -> None:
    tokens = Tokens(database_url)
    allowed = {"a": ("A",), "b": ("B",), "ab": ("A", "B")}
    for name, sites in allowed.items():
        grant = Grant(frozenset({Role.CORRECT, Role.WRITE}), Limits(sites=sites))
        tokens.add(Token(name, (grant,), FixedClock().now()), digest_of(name))
    settings = ServeSettings(access=AccessSettings(required=True))

    def ask(server: Live, name: str, method: str, path: str, value: object = None) -> tuple[int, object]:
        shown = {**JSON, "authorization": f"Bearer {name}"}
        answer = server.post(path, value, shown) if method == "POST" else server.ask(method, path, headers=shown)
        return answer.status, answer.json() if answer.body[:1] in (b"{", b"[") else None

    with serving(store, database_url, settings, tokens) as server:
        ask(server, "a", "POST", "/record", SITES["A"])
        ask(server, "b", "POST", "/record", SITES["B"])
        take = {"decision": "take", "why": "w"}
        for name in ("a", "b"):
            assert ask(server, name, "GET", "/v2/conflicts") == (200, [])
            assert ask(server, name, "POST", "/v2/conflicts/1", take)[0] == 403
        _, found = ask(server, "ab", "GET", "/v2/conflicts")
        assert isinstance(found, list)
        assert found[0]["origin"] == "token 2 (b) at 127.0.0.1"
        assert ask(server, "ab", "POST", "/v2/conflicts/1", take) == (200, {"outcome": "done"})
    tokens.close()


@pytest.mark.parametrize("order", [(EPILOG, SACCT), (SACCT, EPILOG)])
def test_precedence_keeps_the_record_of_the_stronger_collector(
    store: RecordStore, database_url: str, order: tuple[object, object]
) -> None:
    with serving(store, database_url, ServeSettings(conflicts=PRECEDENCE)) as server:
        assert [server.post("/record", one).status for one in (*order, EPILOG, SACCT)] == [200] * 4
        assert server.ask("GET", "/record/r1").json()["components"] != []
        assert server.ask("GET", "/v2/conflicts").json() == []
        versions = server.ask("GET", "/v2/records/r1/versions").json()
        assert [one["why"] for one in versions] == (
            ["collector_type slurm comes after slurm-epilog"] if order[0] is EPILOG else []
        )
        assert server.post("/record", SITES["A"]).status == 409


def test_of_too_many_conflicts_the_decided_ones_go_first(store: RecordStore, database_url: str) -> None:
    del store
    kept = Conflicts(database_url, bound=2)
    now = FixedClock().now()
    bodies = [b'{"record_id":"r%d"}' % number for number in range(4)]
    kept.keep([Conflict(f"r{number}", body, "o", now) for number, body in enumerate(bodies[:2])])
    assert kept.decide(2, Decision.KEEP, Edit("w", "y", now))
    assert not kept.decide(2, Decision.KEEP, Edit("w", "y", now))
    kept.keep([Conflict("r2", bodies[2], "o", now)])
    assert ([one.record_id for one in kept.find(0, 9)], kept.count()) == (["r0", "r2"], (2, 0))
    kept.keep([Conflict("r3", bodies[3], "o", now)])
    assert ([one.record_id for one in kept.find(0, 9)], kept.count()) == (["r2", "r3"], (2, 1))
    kept.close()
