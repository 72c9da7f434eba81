from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from jobmeter.contract import RecordStore, StoreUnavailable
from jobmeter.model.access import Grant, Limits, Role
from jobmeter.model.token import Token
from jobmeter.serve import keyring
from jobmeter.serve.access import AccessSettings
from jobmeter.serve.secret import digest_of
from jobmeter.serve.settings import ServeSettings
from jobmeter.store.open import open_store
from jobmeter.store.tokens import Tokens
from tests.serve.live import JSON, Answer, Live, live, record, request, unanswered, until

NOW = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
SITES = ("A", "B", "C")
GUARDED = [
    ("GET", "/records", Role.READ),
    ("GET", "/record/r-A", Role.READ),
    ("POST", "/record", Role.WRITE),
    ("POST", "/records", Role.WRITE),
    ("PUT", "/record", Role.WRITE),
    ("POST", "/v2/records", Role.WRITE),
    ("GET", "/v2/dead-letters", Role.ADMINISTER),
    ("GET", "/metrics", Role.MONITOR),
    ("GET", "/openapi.json", None),
    ("GET", "/", None),
]


class Guarded:
    """A server that asks everyone, on a real database; and somebody who hands out tokens."""

    def __init__(self, server: Live, tokens: Tokens) -> None:
        self.server = server
        self.tokens = tokens

    def token(self, *roles: Role, expires: datetime | None = None, limits: Limits = Limits()) -> str:  # noqa: B008
        secret = f"jobmeter_{len(self.tokens.all())}"
        token = Token("t", (Grant(frozenset(roles), limits),), NOW, expires)
        self.tokens.add(token, digest_of(secret))
        return secret

    def ask(self, method: str, path: str, secret: str | None, body: bytes | None = None) -> Answer:
        shown = {} if secret is None else {"authorization": f"Bearer {secret}"}
        return self.server.ask(method, path, body, {**JSON, **shown})

    def ids(self, secret: str, query: str = "") -> set[str]:
        answer = self.ask("GET", f"/records?{query}", secret)
        assert answer.status == 200, answer
        return {line.split(b'"')[3].decode() for line in answer.body.splitlines()}


@pytest.fixture
def tokens(database_url: str) -> Iterator[Tokens]:
    opened = Tokens(database_url)
    yield opened
    opened.close()


@pytest.fixture
def kept(database_url: str) -> Iterator[RecordStore]:
    opened = open_store(database_url)
    yield opened
    opened.close()


@pytest.fixture
def door(kept: RecordStore, tokens: Tokens) -> Iterator[Guarded]:
    with live(kept, ServeSettings(access=AccessSettings(required=True)), tokens) as server:
        guarded = Guarded(server, tokens)
        secret = guarded.token(Role.WRITE)
        for site in SITES:
            assert guarded.ask("POST", "/record", secret, body(f"r-{site}", site)).status == 200
        yield guarded


def body(record_id: str, site: str) -> bytes:
    return json.dumps(record(record_id, meta={"site_id": [site], "user": ["u"]})).encode()


def test_a_stranger_gets_401_everywhere_but_at_the_health_check(door: Guarded) -> None:
    for method, path, _ in GUARDED:
        answer = door.ask(method, path, None, b"{}")
        assert answer.status == 401, path
        assert "www-authenticate" in answer.headers
    assert door.ask("GET", "/nowhere", None).status == 401
    assert door.ask("GET", "/health_check", None).status == 200


def test_each_role_opens_its_own_endpoints_and_no_other(door: Guarded) -> None:
    for role in Role:
        secret = door.token(role)
        for method, path, needed in GUARDED:
            status = door.ask(method, path, secret, b"{}").status
            assert (status == 403) == (needed not in (None, role)), (role, method, path, status)
            assert status != 401


@pytest.mark.parametrize(
    "shown",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Basic x",
        "Basic " + base64.b64encode(b"a:b").decode(),
        "Digest x",
        "jobmeter_0",
    ],
)
def test_what_is_no_token_is_401(door: Guarded, shown: str) -> None:
    for method in ("GET", "POST"):
        assert door.server.ask(method, "/records", b"[]", {**JSON, "authorization": shown}).status == 401


def test_a_browser_may_read_with_a_token_as_password_but_not_write(door: Guarded) -> None:
    secret = door.token(Role.READ, Role.WRITE)
    shown = {**JSON, "authorization": "Basic " + base64.b64encode(f"any:{secret}".encode()).decode()}
    assert door.server.ask("GET", "/records", None, shown).status == 200
    assert door.server.ask("POST", "/records", b"[]", shown).status == 401


def test_an_expired_token_is_401(door: Guarded) -> None:
    assert door.ask("GET", "/records", door.token(Role.READ, expires=NOW)).status == 401
    assert door.ask("GET", "/records", door.token(Role.READ, expires=NOW + timedelta(seconds=1))).status == 200


def test_a_revoked_token_is_noticed_within_seconds(door: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "REMEMBERED_SECONDS", 0.2)
    secret = door.token(Role.READ)
    assert door.ask("GET", "/records", secret).status == 200
    number = len(door.tokens.all())
    assert door.tokens.revoke(number, NOW) is not None
    until(lambda: door.ask("GET", "/records", secret).status == 401)
    again = door.tokens.revoke(number, NOW + timedelta(days=1))
    assert again is not None
    assert again.revoked == NOW


def test_a_reader_of_two_sites_sees_both_and_nothing_else_whatever_is_asked(door: Guarded) -> None:
    secret = door.token(Role.READ, limits=Limits(sites=("A", "B")))
    mine = {"r-A", "r-B"}
    assert door.ids(secret) == mine
    for query in ("meta[site_id][dnc][0]=A", "meta[site_id][dnc][0]=Z", "meta[user][c][0]=u", "record_id=r-C"):
        assert door.ids(secret, query) <= mine
    assert door.ids(secret, "meta[site_id][dnc][0]=A") == {"r-B"}
    assert door.ids(secret, "meta[site_id][c][0]=C") == set()
    assert door.ask("GET", "/record/r-A", secret).status == 200
    assert door.ask("GET", "/record/r-C", secret).status == 404
    assert b"<dt>stored in all</dt><dd>2</dd>" in door.ask("GET", "/", secret).body
    assert b"<dt>stored in all</dt><dd>3</dd>" in door.ask("GET", "/", door.token(Role.READ)).body


def test_a_writer_writes_only_what_is_within_its_limits(door: Guarded) -> None:
    secret = door.token(Role.WRITE, limits=Limits(sites=("A",), prefixes=("slurm-",)))
    assert door.ask("POST", "/record", secret, body("slurm-1", "A")).status == 200
    assert door.ask("POST", "/record", secret, body("other-1", "A")).status == 403
    answer = door.ask("POST", "/record", secret, body("slurm-2", "B"))
    assert answer.status == 403
    assert answer.json()["field"] == "meta['site_id']"
    assert door.ids(door.token(Role.READ)) == {"r-A", "r-B", "r-C", "slurm-1"}


def test_of_many_records_those_within_the_limits_are_stored(door: Guarded) -> None:
    secret = door.token(Role.WRITE, limits=Limits(sites=("A",)))
    both = b"[" + body("n1", "A") + b"," + body("n2", "B") + b"]"
    answer = door.ask("POST", "/v2/records", secret, both)
    assert answer.status == 200
    assert [one["outcome"] for one in answer.json()["outcomes"]] == ["new", "forbidden"]
    assert door.ask("POST", "/v2/records", secret, b"[" + body("n2", "B") + b"]").status == 403
    answer = door.ask("POST", "/records", secret, both.replace(b"n1", b"n3"))
    assert answer.status == 403
    assert answer.json()["stored"] == 1
    assert door.ids(door.token(Role.READ)) == {"r-A", "r-B", "r-C", "n1", "n3"}


def test_what_was_forbidden_is_kept_among_the_dead_letters_with_who_sent_it(door: Guarded) -> None:
    secret = door.token(Role.WRITE, limits=Limits(sites=("A",)))
    door.ask("POST", "/record", secret, body("n2", "B"))
    (letter,) = door.ask("GET", "/v2/dead-letters", door.token(Role.ADMINISTER)).json()
    assert letter["origin"] == "token 2 (t) at 127.0.0.1"
    assert "n2" in letter["body"]


def test_a_stop_counts_for_the_stored_record_whatever_the_body_says(door: Guarded) -> None:
    secret = door.token(Role.WRITE, limits=Limits(sites=("A",)))
    stop = body("r-B", "A").replace(b"01:00:00", b"02:00:00")
    assert door.ask("PUT", "/record", secret, stop).status == 403
    assert door.ask("PUT", "/record", secret, stop.replace(b"r-B", b"r-A")).status == 200
    assert door.ask("PUT", "/record", secret, stop.replace(b"r-B", b"nobody")).status == 404


def test_a_refused_client_hears_the_answer_after_a_large_body(door: Guarded) -> None:
    large = b"[" + b" " * 2_000_000 + b"]"
    assert door.ask("POST", "/records", None, large).status == 401


def test_a_client_that_hears_no_refusal_is_not_answered_and_keeps_its_record(door: Guarded) -> None:
    for shown in ("authorization: Bearer x", f"authorization: Bearer {door.token(Role.READ)}"):
        with door.server.raw() as connection:
            connection.sendall(request("POST", "/record", b"{}", "user-agent: auditor-client/0.11.2", shown))
            assert unanswered(connection)


class AwayTokens:
    """Tokens whose database does not answer."""

    def find(self, digest: bytes) -> Token | None:
        del digest
        raise StoreUnavailable("the database is away")


def test_when_tokens_cannot_be_looked_up_nothing_is_answered_that_loses_a_record(kept: RecordStore) -> None:
    settings = ServeSettings(access=AccessSettings(required=True))
    with live(kept, settings, AwayTokens()) as server:  # type: ignore[arg-type]
        shown = {**JSON, "authorization": "Bearer x"}
        assert server.ask("GET", "/records", None, shown).status == 503
        assert server.ask("POST", "/v2/records", b"[]", shown).status == 503
        with server.raw() as connection:
            connection.sendall(request("POST", "/record", b"{}", "authorization: Bearer x"))
            assert unanswered(connection)


def test_where_nobody_is_asked_a_token_changes_nothing(kept: RecordStore) -> None:
    with live(kept) as server:
        assert server.ask("GET", "/records", None, {"authorization": "Bearer nonsense"}).status == 200
