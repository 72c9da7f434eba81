from __future__ import annotations

import json
import logging
import os
import sqlite3
import ssl
import subprocess
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from jobmeter.contract import FollowingSource, JobBatch, JobSource, SourceUnreadable
from jobmeter.model.period import Period
from jobmeter.model.record import Record
from jobmeter.observe.batch.kubernetes import KubernetesSource, Settings, open_source
from jobmeter.observe.host import Host
from jobmeter.observe.kubernetes.settings import JobFilter
from tests.observe.kubernetes_pods import NOW, ago, changed, pod, terminated
from tests.observe.kubernetes_server import ApiServer, api_server, status

BEGINNING = NOW - timedelta(hours=1)
QUIET_SECONDS = 0.1


class Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.moment = NOW

    def now(self) -> datetime:
        return self.moment

    def advance(self, **span: float) -> None:
        self.moment += timedelta(**span)


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with api_server() as server:
        yield server


@pytest.fixture
def clock() -> Clock:
    return Clock()


def kubeconfig(folder: Path, address: str, user: Mapping[str, Any] | None = None, **cluster: Any) -> Path:
    file = folder / "kubeconfig"
    config = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": address, **cluster}}],
        "users": [{"name": "u", "user": user or {}}],
    }
    file.write_text(json.dumps(config))
    return file


@pytest.fixture
def make(tmp_path: Path, api: ApiServer, clock: Clock) -> Callable[..., KubernetesSource]:
    def made(*namespaces: str, labels: tuple[str, ...] = (), **options: Any) -> KubernetesSource:
        settings = Settings(
            kubeconfig=str(kubeconfig(tmp_path, api.address)),
            job_filter=JobFilter(namespace=namespaces or ("jobs",), labels=labels),
            database_path=str(tmp_path),
            **{"earliest_datetime": BEGINNING, "settle_seconds": 0, "api_timeout_seconds": 20, **options},
        )
        return KubernetesSource(settings, Host(Path("/"), clock, {}), quiet_seconds=QUIET_SECONDS)

    return made


class Reading:
    """Batches that were read, and the cursor that the spool would have."""

    def __init__(self, cursor: str | None = None) -> None:
        self.batches: list[JobBatch] = []
        self.cursor = cursor
        self.fault: SourceUnreadable | None = None

    def take(self, batches: Iterator[JobBatch]) -> None:
        try:
            for batch in batches:
                self.batches.append(batch)
                self.cursor = batch.cursor or self.cursor
        except SourceUnreadable as fault:
            self.fault = fault

    @property
    def records(self) -> dict[str, Record]:
        found = {name_of(record): record for batch in self.batches for record in batch.records}
        assert len(found) == sum(len(batch.records) for batch in self.batches), "a pod was given twice"
        return found

    @property
    def ignored(self) -> dict[str, int]:
        total: dict[str, int] = {}
        for batch in self.batches:
            for reason, count in batch.ignored.items():
                total[reason] = total.get(reason, 0) + count
        return total

    @property
    def reasons(self) -> list[str]:
        return [entry.reason for batch in self.batches for entry in batch.refused]


def read(source: JobSource, cursor: str | None, at_least: int = 0) -> Reading:
    """What is read, by as many reads as it takes on a busy machine to hear of `at_least` pods that ended."""
    reading = Reading(cursor)
    for _ in range(100):
        reading.take(source.read(reading.cursor))
        if reading.fault is not None or sum(batch.seen for batch in reading.batches) >= at_least:
            break
    return reading


def name_of(record: Record) -> str:
    assert record.meta is not None
    return record.meta["podname"][0]


def meta(record: Record, key: str) -> str | None:
    values = (record.meta or {}).get(key)
    return None if values is None else values[0]


Make = Callable[..., KubernetesSource]


def test_the_source_keeps_the_contract(make: Make) -> None:
    assert isinstance(make(), JobSource)
    assert isinstance(make(), FollowingSource)


def test_pods_that_ended_are_listed_in_pages_and_running_ones_are_not_recorded(api: ApiServer, make: Make) -> None:
    for number in range(7):
        api.put(pod(f"p{number}"))
    api.put(pod("runs", "Running"))
    api.put(pod("waits", "Pending"))
    reading = read(make(page_size=3), None)
    assert sorted(reading.records) == [f"p{number}" for number in range(7)]
    lists = [query for kind, query in api.requests if kind == "list"]
    assert [query.get("continue") for query in lists] == [None, "3", "6"]
    record = reading.records["p0"]
    assert record.record_id.startswith("-jobs-p0-0")
    assert (record.start_time, record.stop_time) == (NOW - timedelta(seconds=601), NOW - timedelta(seconds=60))


def test_what_ended_before_the_beginning_is_left_out_and_counted(api: ApiServer, make: Make, clock: Clock) -> None:
    api.put(pod("early", ended=60))
    api.put(pod("now", ended=0))
    reading = read(make(earliest_datetime=None), None)
    assert list(reading.records) == ["now"]
    assert reading.ignored == {"ended before the beginning": 1}


def test_the_first_read_goes_on_where_auditor_had_come_to(api: ApiServer, make: Make, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "mqueue.db")) as db, db:
        db.execute("CREATE TABLE lastcheck (time DATETIME)")
        db.execute("INSERT INTO lastcheck VALUES ('2026-11-21 11:59:20.5 +00:00')")
        db.execute("CREATE TABLE mergequeue (rid VARCHAR(256), record BLOB, retry INT, updated INT, complete BOOL)")
        db.execute("INSERT INTO mergequeue VALUES ('-jobs-q-1', ?, 0, 0, 0)", (b"\0q2026-11-21T11:58:20Z\1",))
    api.put(pod("queued", ended=100))
    api.put(pod("sent", ended=110))
    api.put(pod("later", ended=30))
    assert sorted(read(make(earliest_datetime=None), None).records) == ["later", "queued"]


def test_a_pod_that_lived_between_two_reads_is_not_missed(api: ApiServer, make: Make) -> None:
    source = make()
    first = read(source, None)
    short = api.put(pod("short", "Running"))
    api.delete(api.put(changed(short, "Succeeded")))
    second = read(source, first.cursor, 1)
    assert list(second.records) == ["short"]
    assert read(source, second.cursor).records == {}
    assert api.count("list") == 1


def test_a_pod_is_recorded_once_whatever_is_told_of_it_later(api: ApiServer, make: Make) -> None:
    source = make()
    one = api.put(pod("one"))
    first = read(source, None)
    one["metadata"]["labels"] = {"changed": "later"}
    api.put(one)
    second = read(source, first.cursor)
    api.delete(one)
    third = read(source, second.cursor)
    api.forget()
    assert [len(reading.records) for reading in (first, second, third, read(source, third.cursor))] == [
        1,
        0,
        0,
        0,
    ]


def test_a_pod_deleted_while_it_ran_ends_when_that_is_seen(api: ApiServer, make: Make, clock: Clock) -> None:
    source = make()
    runs = api.put(pod("runs", "Running"))
    first = read(source, None)
    clock.advance(seconds=30)
    api.delete(runs)
    record = read(source, first.cursor, 1).records["runs"]
    assert record.stop_time == clock.now()
    assert [meta(record, key) for key in ("status", "reason", "stop_time_from")] == ["Running", "Deleted", "seen"]


def test_a_deletion_ends_no_later_than_it_was_announced(api: ApiServer, make: Make, clock: Clock) -> None:
    source = make()
    runs = api.put(pod("runs", "Running", metadata={"deletionTimestamp": ago(-5)}))
    first = read(source, None)
    clock.advance(minutes=3)
    api.delete(runs)
    record = read(source, first.cursor, 1).records["runs"]
    assert record.stop_time == NOW + timedelta(seconds=5)
    assert meta(record, "stop_time_from") == "deletion"


def test_a_version_that_is_too_old_leads_to_a_new_list_and_nothing_twice(api: ApiServer, make: Make) -> None:
    source = make()
    api.put(pod("a"))
    first = read(source, None)
    api.put(pod("b"))
    api.forget()
    second = read(source, first.cursor, 1)
    assert list(second.records) == ["b"]
    assert api.count("list") == 2


def test_a_pod_that_ran_and_is_gone_at_a_new_list_ends_when_it_was_last_seen(
    api: ApiServer, make: Make, clock: Clock
) -> None:
    source = make()
    gone = api.put(pod("gone", "Running"))
    api.put(pod("stays", "Running"))
    first = read(source, None)
    clock.advance(hours=2)
    api.delete(gone, is_told=False)
    second = read(source, first.cursor, 1)
    assert list(second.records) == ["gone"]
    assert second.records["gone"].stop_time == NOW
    assert meta(second.records["gone"], "stop_time_from") == "last_seen"


def test_410_within_a_watch_leads_to_a_new_list(api: ApiServer, make: Make) -> None:
    source = make()
    first = read(source, None)
    api.watches.append((200, b'{"type":"ERROR","object":' + status(410, "Expired") + b"}\n"))
    api.put(pod("a"))
    assert list(read(source, first.cursor, 1).records) == ["a"]
    assert api.count("list") == 2


def test_a_list_whose_continuation_is_too_old_begins_again(api: ApiServer, make: Make) -> None:
    for number in range(5):
        api.put(pod(f"p{number}"))
    api.pages_gone = 2
    assert len(read(make(page_size=2), None).records) == 5


def test_a_watch_that_is_cut_in_the_middle_of_a_line_goes_on_from_there(api: ApiServer, make: Make) -> None:
    source = make()
    first = read(source, None)
    api.cut_after = 2
    for number in range(7):
        api.put(pod(f"p{number}"))
    reading = read(source, first.cursor, 7)
    assert len(reading.records) == 7
    assert reading.fault is None
    assert api.count("list") == 1
    assert api.count("watch") >= 4


def test_a_slow_stream_is_read_to_its_end(api: ApiServer, make: Make) -> None:
    source = make()
    first = read(source, None)
    api.drip = True
    for number in range(3):
        api.put(pod(f"p{number}"))
    assert len(read(source, first.cursor, 3).records) == 3


@pytest.mark.parametrize("garbage", [b"<html>\n", b"{}\n", b'{"type":"ADDED"}\n', b"\xff\xfe\n", b'{"type":[]}\n'])
def test_garbage_in_a_watch_loses_nothing(api: ApiServer, make: Make, garbage: bytes) -> None:
    source = make()
    first = read(source, None)
    api.watches.extend([(200, garbage)] * 3)
    api.put(pod("a"))
    assert list(read(source, first.cursor, 1).records) == ["a"]
    assert api.count("list") == 2  # the third time the same version gives garbage, all is listed


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"metadata":7}', b'{"metadata":{},"items":[]}'])
def test_a_list_that_is_garbage_is_unreadable_and_not_an_empty_cluster(api: ApiServer, make: Make, body: bytes) -> None:
    source = make()
    api.put(pod("runs", "Running"))
    first = read(source, None)
    api.forget()
    api.lists.extend([(200, body)] * 3)
    second = read(source, first.cursor)
    assert second.fault is not None
    assert second.records == {}
    assert read(source, second.cursor).records == {}


def test_an_odd_pod_is_refused_with_its_text_and_stops_no_other(api: ApiServer, make: Make) -> None:
    source = make()
    api.put(pod("good"))
    odd = api.put(pod("odd"))
    odd["status"]["startTime"] = "yesterday"
    api.put(pod("negative", limits={"cpu": "-1", "memory": "1Gi"}))
    first = read(source, None)
    assert list(first.records) == ["good"]
    assert sorted(reason.split(":")[0] for reason in first.reasons) == ["is not a pod", "pod jobs/negative"]
    assert '"yesterday"' in next(entry.raw for batch in first.batches for entry in batch.refused)
    api.put(odd)
    api.put(pod("next"))
    assert list(read(source, first.cursor, 1).records) == ["next"]


def test_a_namespace_that_is_denied_is_said_once_and_the_others_go_on(
    api: ApiServer, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "jobmeter")
    source = make("jobs", "secret")
    api.denied = {"secret"}
    api.put(pod("a"))
    hidden = api.put(pod("hidden", namespace="secret"))
    first = read(source, None)
    assert first.fault is None
    assert list(first.records) == ["a"]
    second = read(source, first.cursor)
    told = [record.getMessage() for record in caplog.records if "denied" in record.getMessage()]
    assert len(told) == 1
    assert "namespace=secret" in told[0]
    assert "pods is forbidden" in told[0]
    api.denied = set()
    assert list(read(source, second.cursor, 1).records) == ["hidden"]
    assert any("allowed_again" in record.getMessage() for record in caplog.records)
    assert hidden["metadata"]["name"] == "hidden"


def test_no_namespace_at_all_is_a_fault(api: ApiServer, make: Make) -> None:
    api.denied = {"a", "b"}
    reading = read(make("a", "b"), None)
    assert "no namespace may be read" in str(reading.fault)


@pytest.mark.parametrize("code", [401, 404, 429, 500, 503])
def test_an_api_server_that_refuses_is_a_fault_and_moves_no_version(api: ApiServer, make: Make, code: int) -> None:
    source = make()
    first = read(source, None)
    api.put(pod("a"))
    api.watches.extend([(code, status(code, "Scripted", "not now"))] * 3)
    second = read(source, first.cursor)
    assert f"says {code} Scripted: not now" in str(second.fault)
    assert list(read(source, second.cursor, 1).records) == ["a"]


def test_an_api_server_that_is_away_is_a_fault(tmp_path: Path, make: Make, api: ApiServer) -> None:
    source = make()
    first = read(source, None)
    kubeconfig(tmp_path, "http://127.0.0.1:1")
    assert "refused" in str(read(source, first.cursor).fault)
    kubeconfig(tmp_path, api.address)
    api.put(pod("a"))
    assert list(read(source, first.cursor, 1).records) == ["a"]


def test_all_namespaces_are_followed_by_one_watch(api: ApiServer, make: Make) -> None:
    source = make("*")
    api.put(pod("a", namespace="x"))
    first = read(source, None)
    api.put(pod("b", namespace="y"))
    second = read(source, first.cursor, 1)
    assert [meta(reading.records[name], "namespace") for reading, name in ((first, "a"), (second, "b"))] == ["x", "y"]
    assert {query["namespace"] for _, query in api.requests} == {"*"}


def test_label_conditions_are_sent_and_a_pod_that_leaves_the_selection_has_not_ended(
    api: ApiServer, make: Make
) -> None:
    source = make(labels=("app==test", "!debug"))
    leaves, dies = api.put(pod("leaves", "Running")), api.put(pod("dies", "Running"))
    first = read(source, None)
    api.leave(leaves)
    api.delete(dies)
    second = read(source, first.cursor, 2)
    assert list(second.records) == ["dies"]
    assert second.ignored == {"left the selection": 1}
    assert {query["labelSelector"] for kind, query in api.requests if kind != "find"} == {"app==test,!debug"}


def test_the_wiped_status_of_an_evicted_pod_is_completed_from_memory(api: ApiServer, make: Make, clock: Clock) -> None:
    source = make()
    runs = api.put(pod("evicted", "Running"))
    first = read(source, None)
    clock.advance(seconds=40)
    api.put(changed(runs, "Failed", states=[], status={"reason": "Evicted", "containerStatuses": None}))
    record = read(source, first.cursor, 1).records["evicted"]
    assert record.stop_time == clock.now()
    assert (meta(record, "reason"), meta(record, "stop_time_from")) == ("Evicted", "seen")
    assert {component.name: component.amount for component in record.components}["naive_cpu_time"] == 320


def test_a_pod_that_never_ran_is_left_out(api: ApiServer, make: Make) -> None:
    source = make()
    first = read(source, None)
    refused = {"phase": "Failed", "reason": "OutOfcpu", "containerStatuses": None}
    api.put(pod("rejected", "Failed", states=[], status=refused))
    api.delete(api.put(pod("never", "Pending")))
    second = read(source, first.cursor, 2)
    assert (second.records, second.ignored) == ({}, {"never ran": 2})


def test_the_times_of_containers_that_are_still_killed_are_waited_for(api: ApiServer, make: Make, clock: Clock) -> None:
    source = make(settle_seconds=60)
    runs = api.put(pod("late", "Running"))
    first = read(source, None)
    late = changed(runs, "Failed", states=[{"running": {"startedAt": ago(600)}}], status={"reason": "DeadlineExceeded"})
    api.put(late)
    second = read(source, first.cursor)
    assert second.records == {}
    api.put(changed(runs, "Failed", states=[terminated(ago(600), ago(-20), "Error")]))
    third = read(source, second.cursor, 1)
    assert third.records["late"].stop_time == NOW + timedelta(seconds=20)
    assert meta(third.records["late"], "stop_time_from") is None


def test_following_gives_a_batch_soon_after_an_end_and_stops_in_time(api: ApiServer, make: Make) -> None:
    source = make()
    batches = source.follow(None, 30)
    threading.Timer(0.2, lambda: api.put(pod("live"))).start()
    found = next(batch for batch in batches if batch.records)
    assert name_of(found.records[0]) == "live"
    assert isinstance(batches, Generator)
    batches.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("watch ")]


def test_following_ends_with_the_cursor(api: ApiServer, make: Make) -> None:
    api.put(pod("a"))
    reading = Reading()
    reading.take(make().follow(None, 1))
    assert list(reading.records) == ["a"]
    assert json.loads(reading.batches[-1].cursor)["scopes"]["jobs"]["version"] == "101"


def test_records_without_their_cursor_are_found_again(api: ApiServer, make: Make) -> None:
    """A crash after a batch and before its cursor: the same records come again, and the spool knows them."""
    source = make()
    first = read(source, None)
    gone = api.put(pod("gone", "Running"))
    api.delete(gone)
    for number in range(3):
        api.put(pod(f"p{number}"))
    once, twice = read(source, first.cursor, 4), read(source, first.cursor, 4)
    assert {name: record.record_id for name, record in once.records.items()} == {
        name: record.record_id for name, record in twice.records.items()
    }
    assert len(once.records) == 4
    assert all(batch.first_counts for batch in once.batches if batch.records)


def test_a_period_is_read_again_from_what_still_stands(api: ApiServer, make: Make) -> None:
    api.put(pod("in", ended=100))
    api.put(pod("before", ended=500))
    api.put(pod("runs", "Running"))
    reading = Reading()
    reading.take(make().read("kept", Period(NOW - timedelta(seconds=200), NOW)))
    assert list(reading.records) == ["in"]
    assert {batch.cursor for batch in reading.batches} == {"kept"}


def test_a_damaged_cursor_is_no_reason_to_begin_anew(make: Make) -> None:
    for cursor in ("", "{}", "nonsense", '{"scopes":{},"form":2}'):
        assert "cursor" in str(read(make(), cursor).fault)


def test_everything_is_listed_again_now_and_then(api: ApiServer, make: Make, clock: Clock) -> None:
    source = make(relist_seconds=3600)
    api.put(pod("a"))
    first = read(source, None)
    clock.advance(seconds=3601)
    assert read(source, first.cursor).records == {}
    assert api.count("list") == 2


def started(name: str, minutes: float, uid: str | None = None) -> dict[str, Any]:
    """The event by which a kubelet tells that a container of the pod started, so many minutes after NOW."""
    moment = (NOW + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")
    involved = {"kind": "Pod", "namespace": "jobs", "name": name, "uid": uid or f"uid-of-{name}"}
    return {"involvedObject": involved, "reason": "Started", "firstTimestamp": moment, "lastTimestamp": moment}


def test_a_pod_that_only_events_tell_of_is_refused_by_name(
    api: ApiServer, make: Make, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    source = make()
    runs, ended = api.put(pod("runs", "Running")), api.put(pod("ended"))
    first = read(source, None)
    clock.advance(minutes=30)
    came = api.put(pod("came", "Running"))
    api.delete(api.put(pod("went", "Running")), is_told=False)
    uids = [(each["metadata"]["name"], each["metadata"]["uid"]) for each in (runs, ended, came)]
    api.started = [*(started(name, 5, uid) for name, uid in uids), started("went", 10), started("went", 11)]
    api.started += [started("before", -10), {"involvedObject": 7}, {}]
    second = read(source, first.cursor)
    assert second.records == {}
    (reason,) = second.reasons
    assert "jobs/went (uid-of-went) started at" in reason
    assert "kubernetes.missed namespace=jobs pods=1" in caplog.text
    asked = [query for kind, query in api.requests if kind == "events"]
    assert [query["fieldSelector"] for query in asked] == ["involvedObject.kind=Pod,reason=Started"]
    assert read(source, second.cursor).reasons == []


def test_without_the_right_to_list_events_all_else_goes_on(
    api: ApiServer, make: Make, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    source = make()
    first = read(source, None)
    clock.advance(minutes=30)
    api.denied.add("events")
    api.forget()
    api.put(pod("a"))
    assert list(read(source, first.cursor, 1).records) == ["a"]
    assert "kubernetes.no_events namespace=jobs" in caplog.text


def test_where_pods_are_chosen_by_labels_a_missed_one_is_only_logged(
    api: ApiServer, make: Make, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    source = make(labels=("a=b",))
    first = read(source, None)
    clock.advance(minutes=30)
    api.started = [started("went", 10)]
    api.forget()
    assert read(source, first.cursor).reasons == []
    assert "kubernetes.missed namespace=jobs pods=1" in caplog.text


def test_a_clock_that_was_set_back_lists_again(api: ApiServer, make: Make, clock: Clock) -> None:
    source = make()
    first = read(source, None)
    clock.advance(days=-400)
    api.put(pod("a"))
    assert list(read(source, first.cursor, 1).records) == ["a"]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *key, "-days", "2", "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=ca")
    for name, extension in (("server", "subjectAltName=IP:127.0.0.1"), ("client", "extendedKeyUsage=clientAuth")):
        (folder / "ext").write_text(extension)
        openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
                "-days", "2", "-out", f"{name}.crt", "-extfile", "ext")  # fmt: skip
    return folder


@pytest.fixture
def secure(keys: Path) -> Iterator[ApiServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(keys / "server.crt", keys / "server.key")
    context.load_verify_locations(keys / "ca.crt")
    context.verify_mode = ssl.CERT_OPTIONAL
    with api_server(context) as server:
        server.put(pod("a"))
        yield server


def over_tls(config: Path, clock: Clock) -> Reading:
    settings = Settings(
        kubeconfig=str(config), job_filter=JobFilter(namespace=("jobs",)), earliest_datetime=BEGINNING,
        database_path=str(config.parent / "none"), api_timeout_seconds=20,
    )  # fmt: skip
    return read(open_source(settings, Host(Path("/"), clock, {})), None)


def test_tls_with_client_certificate_and_with_token_file(
    secure: ApiServer, keys: Path, tmp_path: Path, clock: Clock
) -> None:
    files = {"client-certificate": str(keys / "client.crt"), "client-key": str(keys / "client.key")}
    config = kubeconfig(tmp_path, secure.address, files, **{"certificate-authority": str(keys / "ca.crt")})
    assert list(over_tls(config, clock).records) == ["a"]
    secure.token = "first"
    (tmp_path / "token").write_text("first\n")
    config = kubeconfig(
        tmp_path, secure.address, {"tokenFile": "token"}, **{"certificate-authority": str(keys / "ca.crt")}
    )
    assert list(over_tls(config, clock).records) == ["a"]
    secure.token = "second"
    assert "401 Unauthorized" in str(over_tls(config, clock).fault)
    (tmp_path / "token").write_text("second\n")
    assert list(over_tls(config, clock).records) == ["a"]


def test_a_server_that_another_authority_signed_is_not_trusted(secure: ApiServer, tmp_path: Path, clock: Clock) -> None:
    assert "certificate verify failed" in str(over_tls(kubeconfig(tmp_path, secure.address), clock).fault)
    unchecked = kubeconfig(tmp_path, secure.address, None, **{"insecure-skip-tls-verify": True})
    assert list(over_tls(unchecked, clock).records) == ["a"]


def test_a_pod_finds_its_service_account(secure: ApiServer, keys: Path, tmp_path: Path, clock: Clock) -> None:
    account = tmp_path / "var/run/secrets/kubernetes.io/serviceaccount"
    account.mkdir(parents=True)
    (account / "ca.crt").write_text((keys / "ca.crt").read_text())
    (account / "token").write_text("word")
    secure.token = "word"
    environment = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": secure.address.rpartition(":")[2]}
    settings = Settings(
        job_filter=JobFilter(namespace=("jobs",)), earliest_datetime=BEGINNING, database_path="/none",
        api_timeout_seconds=20,
    )  # fmt: skip
    reading = read(open_source(settings, Host(tmp_path, clock, environment)), None)
    assert list(reading.records) == ["a"]
    assert os.environ.get("KUBERNETES_SERVICE_HOST") is None
