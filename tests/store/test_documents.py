"""Facility documents in both databases."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from jobmeter.contract import DocumentStore, StoreUnavailable
from jobmeter.model.facility import DocumentQuestion, Received, Sight, Span
from jobmeter.store.documents import Documents

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)  # a Monday
EVERY = DocumentQuestion(None)


@pytest.fixture
def documents(database_url: str) -> Iterator[Documents]:
    opened = Documents(database_url)
    yield opened
    opened.close()


def document(kind: str = "ssh", minutes: float = 0, **changes: Any) -> Received:
    observed = NOON + timedelta(minutes=minutes)
    given = {"cluster": "UC-AF", "received": observed, "observed": observed, "body": b'{"kind":"x"}', **changes}
    return Received(kind=kind, **given)


def logged_in(minutes: float, node: str, *users: str, cluster: str = "UC-AF") -> Received:
    names = ",".join(f'"{user}"' for user in users)
    body = f'{{"kind":"ssh","users":[{names}]}}'.encode()
    return document("ssh", minutes, node=node, users=users, cluster=cluster, body=body)


def test_it_is_a_document_store(documents: Documents) -> None:
    assert isinstance(documents, DocumentStore)


def test_documents_come_back_as_they_were_the_newest_first(documents: Documents) -> None:
    first = document("DISK", 0, node="n1", subject="/home", body='{"mount":"/höme"}'.encode())
    documents.keep([first, document("condorjob", 1, subject="1.0", state="idle", users=("alice",))])
    found = documents.find(EVERY)
    assert [one.kind for one in found] == ["condorjob", "DISK"]
    assert (found[1].body, found[1].node, found[1].subject) == (first.body, "n1", "/home")
    assert found[1].observed == NOON
    older = documents.find(DocumentQuestion(None, before=found[0].number))
    assert [one.kind for one in older] == ["DISK"]
    assert [one.kind for one in documents.after(0, 10)] == ["DISK", "condorjob"]


def test_what_has_the_same_identity_is_kept_once(documents: Documents) -> None:
    for _ in range(2):
        documents.keep([document(identity=b"one"), document(identity=b"one"), document(), document()])
    assert len(documents.find(EVERY)) == 5


def test_conditions_and_clusters_choose(documents: Documents) -> None:
    documents.keep([document(cluster="A", node="n1"), document("CPU", 5, cluster="B", node="n2")])
    assert len(documents.find(DocumentQuestion(frozenset({"A"})))) == 1
    assert documents.find(DocumentQuestion(frozenset())) == []
    assert [one.cluster for one in documents.find(DocumentQuestion(None, kind="CPU"))] == ["B"]
    assert [one.cluster for one in documents.find(DocumentQuestion(None, node="n1"))] == ["A"]
    late = Span(NOON + timedelta(minutes=1), NOON + timedelta(hours=1))
    assert [one.cluster for one in documents.find(DocumentQuestion(None, span=late))] == ["B"]


def test_people_are_counted_once_however_many_hosts_and_ways_they_use(documents: Documents) -> None:
    documents.keep(
        [
            logged_in(0, "n1", "alice", "bob"),
            logged_in(0, "n2", "alice"),
            logged_in(24 * 60, "n1", "alice"),
            document("jupyter-ml", users=("alice", "carol")),
            document("condorjob", users=("dave",), subject="1.0", state="running"),
            logged_in(0, "m1", "erin", cluster="OTHER"),
        ]
    )
    monday, tuesday, next_week = date(2026, 3, 2), date(2026, 3, 3), date(2026, 3, 9)
    day, week, after = documents.users(None, None, [(monday, tuesday), (monday, next_week), (next_week, date.max)])
    assert (day.any, day.by_access) == (5, {"batch": 1, "jupyter": 2, "ssh": 3})
    assert week.any == 5
    assert (after.any, after.by_access) == (0, {})
    (own,) = documents.users(frozenset({"UC-AF"}), None, [(monday, next_week)])
    (other,) = documents.users(None, "OTHER", [(monday, next_week)])
    assert (own.any, other.any) == (4, 1)


def test_the_newest_of_each_place_is_by_its_time_and_not_by_its_arrival(documents: Documents) -> None:
    documents.keep(
        [document("CPU", 10, node="n1", body=b'{"load":2}'), document("CPU", 5, node="n1", body=b'{"load":1}')]
    )
    documents.keep([document("DISK", 1, node="n1", subject=mount) for mount in ("/a", "/b")])
    documents.keep([document("CPU", -600, node="old")])
    found = documents.newest(None, None, ("CPU", "DISK"), NOON - timedelta(hours=1))
    assert [(one.kind, one.subject) for one in found] == [("CPU", None), ("DISK", "/a"), ("DISK", "/b")]
    assert found[0].body == b'{"load":2}'


def test_sights_tell_when_a_job_was_first_seen_waiting_and_started(documents: Documents) -> None:
    states = [
        ("1.0", "idle", 0),
        ("1.0", "idle", 5),
        ("1.0", "running", 10),
        ("2.0", "idle", 3),
        ("3.0", "finished", 9),
    ]
    documents.keep([document("condorjob", at, subject=job, state=state) for job, state, at in states])
    found = documents.sights(None, None, Span(NOON, NOON + timedelta(hours=1)))
    assert sorted(found, key=lambda sight: sight.job) == [
        Sight("1.0", NOON, NOON + timedelta(minutes=10)),
        Sight("2.0", NOON + timedelta(minutes=3), None),
        Sight("3.0", None, NOON + timedelta(minutes=9)),
    ]


def test_seen_comes_in_order_of_time(documents: Documents) -> None:
    documents.keep([logged_in(5, "n1", "bob"), logged_in(0, "n1", "alice")])
    found = list(documents.seen(None, None, Span(NOON, NOON + timedelta(hours=1))))
    assert [(one.node, one.users) for one in found] == [("n1", ("alice",)), ("n1", ("bob",))]


def test_pruning_drops_documents_and_keeps_who_was_there(documents: Documents) -> None:
    documents.keep([logged_in(0, "n1", "alice"), logged_in(60, "n1", "bob")])
    assert documents.prune(NOON + timedelta(minutes=30)) == 1
    assert len(documents.find(EVERY)) == 1
    (count,) = documents.users(None, None, [(date(2026, 3, 2), date(2026, 3, 3))])
    assert count.any == 2


def test_a_database_that_is_gone_is_unavailable(tmp_path: Any) -> None:
    for url in (f"sqlite:///{tmp_path}/none.db", "postgresql://127.0.0.1:1/none"):
        documents = Documents(url)
        with pytest.raises(StoreUnavailable):
            documents.keep([document()])
        documents.close()
