from __future__ import annotations

from functools import partial

from prometheus_client.parser import text_string_to_metric_families

from jobmeter.model.version import Edit
from jobmeter.serve.settings import DatabaseMetrics, Metrics, ServeSettings
from jobmeter.store.open import open_store
from tests import given
from tests.serve.live import Live, live, record, until
from tests.serve.memory import MemoryStore

ALL = DatabaseMetrics(
    frequency=0.05, metrics=("RecordCount", "RecordCountPerSite", "RecordCountPerGroup", "RecordCountPerUser")
)
COUNTED = ServeSettings(metrics=Metrics(database=ALL))


def test_metrics_are_prometheus_text(server: Live) -> None:
    answer = server.ask("GET", "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    names = {family.name for family in text_string_to_metric_families(answer.body.decode())}
    assert {"http_server_duration_seconds", "http_server_active_requests", "jobmeter_records"} <= names
    assert not any(name.startswith("num_records") for name in names)


def test_requests_are_counted_by_route_method_and_status(server: Live) -> None:
    server.post("/record", record())
    server.post("/record", {})
    server.ask("GET", "/record/x%2Fy")
    server.ask("GET", "/nowhere")
    count = "http_server_duration_seconds_count"
    labels = 'http_request_method="{}",http_response_status_code="{}",http_route="{}"'
    for method, status, route in [
        ("POST", 200, "/record"),
        ("POST", 400, "/record"),
        ("GET", 404, "/record/{record_id}"),
    ]:
        assert server.metric(f"{count}{{{labels.format(method, status, route)}}}") == 1
    assert server.metric(f"{count}{{{labels.format('', 404, 'default')}}}") == 1


def test_stored_records_are_counted_in_the_background(store: MemoryStore) -> None:
    with live(store, COUNTED) as server:
        server.post("/record", record(meta={"site": ["A", "B"], "user": ["u"]}))
        until(lambda: server.metric("num_records_database") == 1)
        until(lambda: server.metric('num_records_database_per_site{site="B"}') == 1)
        until(lambda: server.metric('num_records_database_per_user{user_id="u"}') == 1)
        assert b"num_records_database_per_group" not in server.ask("GET", "/metrics").body


def test_records_are_counted_by_any_meta_key(sqlite_url: str) -> None:
    counted = DatabaseMetrics(
        frequency=0.05, metrics=("RecordCountPerSite", "RecordCountPerUser"), meta_key_site="centre", meta_keys=("vo",)
    )
    store = open_store(sqlite_url)
    store.put([given.record("before", meta={"vo": ("atlas",), "centre": ("C",), "site": ("A",), "user_id": ("u",)})])
    with live(store, ServeSettings(metrics=Metrics(database=counted))) as server:
        server.post("/record", record("since", meta={"vo": ["atlas", "cms"]}))
        for line, count in (
            ('num_records_database_per_site{site="C"}', 1),
            ('num_records_database_per_meta_key{key="vo",value="atlas"}', 2),
            ('num_records_database_per_meta_key{key="vo",value="cms"}', 1),
            ('num_records_database_per_user{user_id="u"}', 1),
        ):
            until(partial(lambda line, count: server.metric(line) == count, line, count))
        assert server.metric('num_records_database_per_site{site="A"}') == 0
        store.withdraw("since", Edit())
        until(lambda: server.metric('num_records_database_per_meta_key{key="vo",value="atlas"}') == 1)
        assert b'value="cms"' not in server.ask("GET", "/metrics").body
    store.close()


def test_dead_letters_that_went_for_newer_ones_are_told(store: MemoryStore) -> None:
    with live(store, COUNTED) as server:
        until(lambda: server.metric("jobmeter_dead_letters_evicted_total") == 3)


def test_counting_survives_a_database_that_is_away(store: MemoryStore) -> None:
    store.away = True
    with live(store, COUNTED) as server:
        until(lambda: server.metric("jobmeter_counting_failures_total") > 0)
        store.away = False
        server.post("/record", record())
        until(lambda: server.metric("num_records_database") == 1)


def test_two_servers_in_one_process_count_apart(store: MemoryStore, server: Live) -> None:
    with live(MemoryStore()) as other:
        other.post("/record", record())
        assert other.metric('jobmeter_records_total{outcome="new"}') == 1
        assert server.metric('jobmeter_records_total{outcome="new"}') == 0


def test_outcomes_are_counted(server: Live) -> None:
    server.post("/v2/records", [record("a"), record("a"), record("a", meta=None), {}])
    for outcome in ("new", "same", "conflict", "invalid"):
        assert server.metric(f'jobmeter_records_total{{outcome="{outcome}"}}') == 1
    assert server.metric("jobmeter_dead_letters_total") == 2
