"""What a person may not see is not on the pages."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import timedelta

import pytest

from jobmeter.model.access import Grant, Limits, Role
from jobmeter.model.token import Token
from jobmeter.serve.access import AccessSettings
from jobmeter.serve.secret import digest_of
from jobmeter.serve.settings import ServeSettings
from jobmeter.store.tokens import Tokens
from tests.serve.browser.facility import NOW, facility
from tests.serve.live import Live

READ = frozenset({Role.READ})
WHO = {
    "all": (Grant(frozenset({Role.READ, Role.ADMINISTER})),),
    "site": (Grant(READ, Limits(sites=("physics",))),),
    "cluster": (Grant(READ, Limits(clusters=("elsewhere",))),),
    "writer": (Grant(frozenset({Role.WRITE})),),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("rights")
    with facility(folder, ServeSettings(access=AccessSettings(required=True))) as running:
        tokens = Tokens(f"sqlite:///{folder / 'records.db'}")
        for name, grants in WHO.items():
            tokens.add(Token(name, grants, NOW - timedelta(days=1)), digest_of(name))
        tokens.close()
        yield running


def shown(server: Live, path: str, who: str) -> tuple[int, str]:
    answer = server.ask("GET", path, headers={"accept": "text/html", "authorization": f"Bearer {who}"})
    return answer.status, answer.body.decode()


def test_who_may_read_everything_sees_every_page(server: Live) -> None:
    for path, text in (
        ("/", "nodes reporting"), ("/nodes", "node-01"), ("/nodes/node-01", "Jobs here now"), ("/queues", "grace"),
        ("/health", "Dead letters"),
    ):  # fmt: skip
        status, body = shown(server, path, "all")
        assert status == 200
        assert text in body


def test_who_may_read_a_site_sees_its_records_and_neither_nodes_nor_queues(server: Live) -> None:
    _, body = shown(server, "/", "site")
    assert "<dd>150</dd>" in body
    assert "<dd>300</dd>" not in body
    assert "node-01" not in body
    assert "hall-a" not in body
    assert 'href="./queues"' not in body
    assert shown(server, "/queues", "site")[0] == 403
    assert shown(server, "/nodes/node-01", "site")[0] == 404
    _, health = shown(server, "/health", "site")
    assert "physics" in health
    for hidden in ("astro", "node-01", "Dead letters", "hall-a"):
        assert hidden not in health


def test_who_may_read_another_cluster_sees_nothing_of_this_one(server: Live) -> None:
    for path in ("/", "/nodes", "/queues", "/health"):
        status, body = shown(server, path, "cluster")
        assert status == 200
        for hidden in ("hall-a", "node-01", "grace", "login-1", "physics"):
            assert hidden not in body


def test_who_may_only_write_sees_nothing_at_all(server: Live) -> None:
    status, body = shown(server, "/", "writer")
    assert status == 200
    assert "records today" not in body
    assert 'href="./nodes"' not in body
    for path in ("/nodes", "/nodes/node-01", "/queues", "/health"):
        assert shown(server, path, "writer")[0] == 403


def test_a_browser_gets_csv_of_what_the_asker_may_see_only(server: Live) -> None:
    path = "/v2/totals?group_by=site_id&sum=count&format=csv"
    answer = server.ask("GET", path, headers={"authorization": "Bearer site"})
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert b"physics" in answer.body
    assert b"astro" not in answer.body
    assert server.ask("GET", "/v2/samples?format=csv", headers={}).status == 401
    assert server.ask("GET", "/v2/samples?format=csv", headers={"authorization": "Bearer writer"}).status == 403


def test_a_form_with_a_name_and_password_is_let_in_for_pages_only(server: Live) -> None:
    basic = base64.b64encode(b"x:all").decode()
    headers = {"authorization": f"Basic {basic}", "content-type": "application/json"}
    assert server.ask("POST", "/v2/records", b"[]", headers).status == 401
    assert server.ask("GET", "/", headers=headers).status == 200
