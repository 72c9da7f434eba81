"""The receiving end over HTTP, with the real store and real tokens."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest

from jobmeter.contract import RecordStore
from jobmeter.model.access import Grant, Limits, Role
from jobmeter.model.token import Token
from jobmeter.serve.access import AccessSettings
from jobmeter.serve.secret import digest_of
from jobmeter.serve.settings import ServeSettings
from jobmeter.sinks.documents import Settings as SinkSettings
from jobmeter.sinks.documents import open_sink
from jobmeter.store.documents import Documents
from jobmeter.store.tokens import Tokens
from tests.serve.live import JSON, Live, live
from tests.sinks.test_documents import item
from tests.wire.test_received import GOOD

WRITER, READER, BOTH = "writes-for-uc", "reads-uc", "everything"


class Clock:
    def now(self) -> datetime:
        return datetime.now(UTC)


class Receiver(NamedTuple):
    server: Live
    documents: Documents


def _grant(*roles: Role, clusters: tuple[str, ...] | None = None) -> tuple[Grant, ...]:
    return (Grant(frozenset(roles), Limits(clusters=clusters)),)


@pytest.fixture
def receiver(store: RecordStore, database_url: str) -> Iterator[Receiver]:
    """A server that asks for tokens."""
    tokens, documents = Tokens(database_url), Documents(database_url)
    for secret, grants in (
        (WRITER, _grant(Role.WRITE_DOCUMENTS, clusters=("UC-AF",))),
        (READER, _grant(Role.READ, clusters=("UC-AF",))),
        (BOTH, _grant(Role.WRITE_DOCUMENTS, Role.READ, Role.MONITOR)),
    ):
        tokens.add(Token(secret, grants, datetime.now(UTC)), digest_of(secret))
    settings = ServeSettings(access=AccessSettings(required=True))
    with live(store, settings, tokens, documents, Clock()) as server:
        yield Receiver(server, documents)
    documents.close()
    tokens.close()


@pytest.fixture
def store(database_url: str) -> Iterator[RecordStore]:
    from jobmeter.store.open import open_store  # noqa: PLC0415

    opened = open_store(database_url)
    yield opened
    opened.close()


def document(kind: str = "CPU", token: object = WRITER, cluster: str = "UC-AF", **changes: Any) -> dict[str, Any]:
    return {"token": token, "kind": kind, "cluster": cluster, **GOOD.get(kind, {}), **changes}


def number_of(receiver: Receiver) -> int:
    return len(receiver.documents.after(0, 10_000))


def ask(receiver: Receiver, path: str, secret: str = READER) -> Any:
    answer = receiver.server.ask("GET", path, headers={"authorization": f"Bearer {secret}"})
    assert answer.status == 200, answer.body
    return answer.json()


@pytest.mark.parametrize("path", ["/", "/v2/documents"])
def test_a_document_with_a_token_of_its_cluster_is_stored_without_it(receiver: Receiver, path: str) -> None:
    answer = receiver.server.post(path, document())
    assert (answer.status, answer.body) == (200, b"")
    (stored,) = receiver.documents.after(0, 10)
    assert json.loads(stored.body) == {"kind": "CPU", "cluster": "UC-AF", **GOOD["CPU"]}
    assert (datetime.now(UTC) - stored.received) < timedelta(minutes=10)


REFUSED: list[tuple[int, object]] = [
    (401, document(token="wrong")),
    (401, document(token=None)),
    (403, document(token=READER)),
    (403, document(cluster="OTHER")),
    (400, document(load="high")),
    (400, {"what": 1}),
    (400, [document(), document(load=-1)]),
    (401, [document(), document(token="wrong")]),
    (403, [document(), document(cluster="OTHER")]),
]


def test_what_is_refused_leaves_nothing_behind(receiver: Receiver) -> None:
    for status, body in REFUSED:
        answer = receiver.server.post("/", body)
        assert (answer.status, bool(answer.json()["error"])) == (status, True), body
    assert number_of(receiver) == 0


def test_a_body_that_is_no_json_or_too_large_is_refused(receiver: Receiver) -> None:
    assert receiver.server.ask("POST", "/", b"junk").status == 400
    assert receiver.server.ask("POST", "/", b"{}", {"content-type": "text/plain"}).status == 400
    assert receiver.server.ask("POST", "/", b"[" + b" " * 2**21 + b"]").status == 413
    assert number_of(receiver) == 0


def test_a_token_in_the_header_speaks_for_all_documents(receiver: Receiver) -> None:
    header = {**JSON, "authorization": f"Bearer {WRITER}"}
    assert receiver.server.post("/", document(token=None), header).status == 200
    assert receiver.server.post("/", document(cluster="OTHER"), header).status == 403
    assert receiver.server.post("/", document(), {**JSON, "authorization": "Bearer wrong"}).status == 401
    assert number_of(receiver) == 1


def test_a_kind_that_nobody_knows_is_kept(receiver: Receiver) -> None:
    assert receiver.server.post("/", document("benchmark", payloadSize=7)).status == 200
    (found,) = ask(receiver, "/v2/documents?kind=benchmark")["documents"]
    assert found["document"] == {"kind": "benchmark", "cluster": "UC-AF", "payloadSize": 7}


def test_our_own_sink_delivers_and_a_repeat_is_stored_once(receiver: Receiver) -> None:
    for array in (1, 10):
        settings = SinkSettings(url=f"http://127.0.0.1:{receiver.server.port}/", token=WRITER, array=array)
        items = [item(number, ssh_user_count=0, users=[]) for number in range(25)]
        for _ in range(2):
            sink = open_sink(settings)
            outcomes = sink.send(items)
            sink.close()
            assert [type(outcome).__name__ for outcome in outcomes] == ["Accepted"] * 25
    assert number_of(receiver) == 50


def test_documents_are_listed_in_pages_and_only_of_clusters_that_may_be_read(receiver: Receiver) -> None:
    for number in range(5):
        receiver.server.post("/", document("DISK", mount=f"/{number}"))
    receiver.server.post("/", document("CPU", token=BOTH, cluster="OTHER"))
    page = ask(receiver, "/v2/documents?limit=3")
    assert [one["document"]["mount"] for one in page["documents"]] == ["/4", "/3", "/2"]
    rest = ask(receiver, f"/v2/documents?limit=3&before={page['before']}")
    assert ([one["document"]["mount"] for one in rest["documents"]], rest["before"]) == (["/1", "/0"], None)
    assert len(ask(receiver, "/v2/documents", BOTH)["documents"]) == 6
    assert receiver.server.ask("GET", "/v2/documents").status == 401
    writer = {"authorization": f"Bearer {WRITER}"}
    assert receiver.server.ask("GET", "/v2/documents", headers=writer).status == 403


UNUSABLE = [
    ("documents?limit=0", "limit"), ("documents?limit=x", "limit"), ("documents?what=1", "what"),
    ("documents?kind=a&kind=b", "kind"), ("documents?since=yesterday", "since"),
    ("facility/users?by=year", "by"), ("facility/sessions?since=2020-01-01&until=2021-01-01", "since"),
    ("facility/queues?step_seconds=0", "step_seconds"), ("facility/waits?until=2020-01-01T00:00:00", "until"),
    ("facility/hosts?since=2020-01-01", "since"), ("facility/users?since=1990-01-01", "since"),
]  # fmt: skip


def test_a_parameter_that_cannot_be_used_is_named(receiver: Receiver) -> None:
    for query, name in UNUSABLE:
        answer = receiver.server.ask("GET", f"/v2/{query}", headers={"authorization": f"Bearer {READER}"})
        assert (answer.status, answer.json()["field"]) == (400, name), query


def _fill(receiver: Receiver) -> None:
    now = datetime.now(UTC)

    def stamp(minutes: float) -> str:
        return (now - timedelta(minutes=minutes)).isoformat()

    posted = [
        document("ssh", login_node=node, users=list(users), ssh_user_count=len(users), timestamp=stamp(minutes))
        for minutes, node, users in (
            (14, "n1", ("alice", "bob")), (9, "n1", ("alice",)), (4, "n1", ("alice",)), (4, "n2", ("alice",)),
        )
    ]  # fmt: skip
    posted += [document("jupyter-ml", users=["alice", "carol"], jupyter_user_count=2)]
    posted += [
        document("condorjob", users="dave", Id=job, state=state, timestamp=stamp(minutes))
        for job, state, minutes in (("1.0", "idle", 14), ("1.0", "running", 4), ("2.0", "idle", 4))
    ]
    posted += [
        document("condorqueue", queue="all", idle=idle, running=5, timestamp=stamp(at))
        for idle, at in ((10, 9), (20, 4))
    ]
    posted += [document("CPU", login_node=node, load=1.5) for node in ("n1", "n2")]
    sizes: dict[str, Any] = {"total": 100, "used": 40, "free": 60, "device": "nfs:/home", "mount": "/home"}
    posted += [document("DISK", login_node=node, **sizes) for node in ("n1", "n2")]
    posted += [document("NETWORK", login_node="n1", network={"sent": 600, "received": 300, "interval": 300.0})]
    assert receiver.server.post("/", posted).status == 200


def test_questions_about_the_facility_are_answered_without_counting_twice(receiver: Receiver) -> None:
    _fill(receiver)
    month = ask(receiver, "/v2/facility/users?by=month&cluster=UC-AF")["users"][-1]
    assert month["any"] == 4
    assert month["by_access"] == {"batch": 1, "jupyter": 2, "ssh": 2}
    sessions = ask(receiver, "/v2/facility/sessions")
    assert sessions["number"] == 3
    assert sorted((one["user"], one["node"], one["seconds"]) for one in sessions["sessions"]) == [
        ("alice", "n1", pytest.approx(600, abs=1)), ("alice", "n2", 0), ("bob", "n1", 0),
    ]  # fmt: skip
    points = ask(receiver, "/v2/facility/queues?queue=all&step_seconds=86400")["queues"]
    assert sum(point["means"]["idle"] for point in points) / len(points) in (15, pytest.approx(15))
    waits = ask(receiver, "/v2/facility/waits")
    assert (waits["jobs"], waits["still_waiting"]) == (1, 1)
    assert waits["p50_seconds"] == pytest.approx(600, abs=1)
    hosts = ask(receiver, "/v2/facility/hosts")
    assert [(host["node"], host["load"]) for host in hosts["hosts"]] == [("n1", 1.5), ("n2", 1.5)]
    assert hosts["hosts"][0]["network"] == {"sent_bytes_per_second": 2.0, "received_bytes_per_second": 1.0}
    assert hosts["space"] == {"total": 100, "used": 40, "free": 60}
    assert ask(receiver, "/v2/facility/users?cluster=OTHER")["users"][-1]["any"] == 0


def test_every_question_answers_in_csv(receiver: Receiver) -> None:
    _fill(receiver)
    queues = lines(receiver, "queues?step_seconds=86400")
    assert set(queues[0]) >= {"start", "cluster", "queue", "means.idle"}
    assert {line["queue"] for line in queues} == {"all"}
    assert [line["user"] for line in lines(receiver, "sessions")].count("alice") == 2
    assert lines(receiver, "waits")[0]["still_waiting"] == "1"
    assert json.loads(lines(receiver, "hosts")[0]["disks"])[0]["total"] == 100
    assert lines(receiver, "users?by=month")[-1]["any"] == "4"
    assert lines(receiver, "sessions?cluster=OTHER") == []
    headers = {"authorization": f"Bearer {READER}"}
    answer = receiver.server.ask("GET", "/v2/facility/hosts?format=xml", headers=headers)
    assert (answer.status, answer.json()["field"]) == (400, "format")


def lines(receiver: Receiver, query: str) -> list[dict[str, str]]:
    """The lines of an answer in CSV, by the heads."""
    path = f"/v2/facility/{query}{'&' if '?' in query else '?'}format=csv"
    answer = receiver.server.ask("GET", path, headers={"authorization": f"Bearer {READER}"})
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(io.StringIO(answer.body.decode())))


def test_without_required_access_anybody_on_this_machine_may_send(store: RecordStore, database_url: str) -> None:
    documents = Documents(database_url)
    with live(store, documents=documents, clock=Clock()) as server:
        assert server.post("/", document(token="whatever")).status == 200
        assert server.ask("GET", "/").status == 200, "the page is still there"
        assert server.ask("HEAD", "/").status == 200
        assert server.ask("PUT", "/").status == 405
    documents.close()


def test_gauges_tell_of_the_facility(store: RecordStore, database_url: str) -> None:
    documents = Documents(database_url)
    with live(store, documents=documents, clock=Clock()) as server:
        _fill(Receiver(server, documents))
    with live(store, documents=documents, clock=Clock()) as server:
        _until_gauges(server)
        assert server.metric('jobmeter_facility_users{access="any",window="month"}') == 4
        assert server.metric('jobmeter_facility_queue_jobs{cluster="UC-AF",queue="all",state="idle"}') == 20
        assert server.metric('jobmeter_facility_host_load{cluster="UC-AF",host="n2"}') == 1.5
        assert (
            server.metric('jobmeter_facility_host_disk_bytes{cluster="UC-AF",host="n1",mount="/home",part="free"}')
            == 60
        )
        server.post("/", document("strange"))
        server.post("/", {"x": 1})
        assert server.metric('jobmeter_documents_total{kind="other"}') == 1
        assert server.metric('jobmeter_documents_refused_total{status="400"}') == 1
    documents.close()


def _until_gauges(server: Live) -> None:
    from tests.serve.live import until  # noqa: PLC0415

    until(lambda: server.metric('jobmeter_facility_host_load{cluster="UC-AF",host="n1"}') == 1.5)
