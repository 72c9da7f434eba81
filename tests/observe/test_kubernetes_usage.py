"""Usage of a Prometheus that follows a script, and what the source makes of it."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobmeter.observe.batch.kubernetes import KubernetesSource, Settings
from jobmeter.observe.host import Host
from jobmeter.observe.kubernetes.settings import JobFilter
from jobmeter.observe.kubernetes.usage import UsageUnfit, questions, value_in
from tests.observe.kubernetes_pods import NOW, pod
from tests.observe.kubernetes_server import api_server
from tests.observe.test_kubernetes_source import BEGINNING, QUIET_SECONDS, Clock, kubeconfig, read


def vector(*values: str) -> bytes:
    result = [{"metric": {"pod": "a"}, "value": [1795255201.5, value]} for value in values]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}).encode()


class Prometheus(ThreadingHTTPServer):
    """Answers by the script, else that it has nothing."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: deque[tuple[int, bytes]] = deque()
        self.asked: list[dict[str, str]] = []


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Prometheus

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        assert parts.path == "/api/v1/query"
        self.server.asked.append({key: values[0] for key, values in parse_qs(parts.query).items()})
        code, body = self.server.answers.popleft() if self.server.answers else (200, vector())
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def prometheus() -> Iterator[Prometheus]:
    with Prometheus() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class Bench:
    """One pod that ended a minute ago, a clock, and the source with its cursor."""

    def __init__(self, folder: Path, address: str, port: int) -> None:
        self.clock = Clock()
        settings = Settings(
            kubeconfig=str(kubeconfig(folder, address)),
            job_filter=JobFilter(namespace=("jobs",)),
            database_path=str(folder),
            earliest_datetime=BEGINNING,
            prometheus_addr="127.0.0.1",
            prometheus_port=port,
        )
        self.source = KubernetesSource(settings, Host(Path("/"), self.clock, {}), QUIET_SECONDS)
        self.cursor: str | None = None

    def components(self, **later: float) -> list[dict[str, int]]:
        """The amounts of the records that a read gives some time later."""
        self.clock.advance(**later)
        reading = read(self.source, self.cursor)
        self.cursor = reading.cursor
        return [{each.name: each.amount for each in record.components} for record in reading.records.values()]


@pytest.fixture
def bench(tmp_path: Path, prometheus: Prometheus) -> Iterator[Bench]:
    with api_server() as api:
        api.put(pod("a"))
        yield Bench(tmp_path, api.address, prometheus.server_address[1])


def test_usage_is_asked_for_some_time_after_the_end(bench: Bench, prometheus: Prometheus) -> None:
    assert bench.components() == []
    assert prometheus.asked == []
    prometheus.answers.extend([(200, vector("12.5")), (200, vector("1.048576e+06"))])
    [amounts] = bench.components(seconds=240)
    assert (amounts["cpu"], amounts["memory"]) == (13, 2**20)
    assert amounts["naive_cpu_time"] == 270
    stop = NOW - timedelta(seconds=60)
    assert {query["time"] for query in prometheus.asked} == {str(int(stop.timestamp()))}
    assert prometheus.asked[0]["query"] == questions("jobs", "a", 542)["cpu"]
    assert bench.components(minutes=10) == []


def test_a_pod_unknown_to_prometheus_is_recorded_without_usage_after_some_tries(
    bench: Bench, prometheus: Prometheus
) -> None:
    bench.components()
    prometheus.answers.extend([(200, vector("1")), (200, vector())])
    assert [bench.components(seconds=300) for _ in range(2)] == [[], []]
    [amounts] = bench.components(seconds=300)
    assert "cpu" not in amounts
    assert len(prometheus.asked) == 6


def test_an_unreachable_prometheus_is_waited_for_but_not_for_ever(bench: Bench, prometheus: Prometheus) -> None:
    bench.components()
    prometheus.answers.extend([(503, b"")] * 2)
    assert bench.components(seconds=300) == []
    assert bench.components(seconds=300) == []
    assert len(prometheus.asked) == 2
    prometheus.answers.append((503, b""))
    [amounts] = bench.components(days=2)
    assert "memory" not in amounts


@pytest.mark.parametrize("body", [b"", b"{}", vector("1", "2"), vector("many"), vector("-1"), vector("Inf")])
def test_an_answer_that_is_no_usage_makes_a_record_without_it(
    bench: Bench, prometheus: Prometheus, body: bytes
) -> None:
    bench.components()
    prometheus.answers.append((200, body))
    [amounts] = bench.components(seconds=300)
    assert "cpu" not in amounts


def test_values_are_rounded_half_up_and_nan_is_none() -> None:
    assert [value_in(vector(text)) for text in ("0.5", "1.49", "NaN", "0")] == [1, 1, None, 0]
    assert value_in(vector()) is None


def test_names_cannot_break_out_of_the_question() -> None:
    assert '{namespace="a\\"} or vector(1) #",pod="p\\\\"}' in questions('a"} or vector(1) #', "p\\", 1)["cpu"]


@given(st.binary(max_size=100) | st.text(max_size=20).map(vector))
def test_any_answer_is_a_value_or_unfit(body: bytes) -> None:
    try:
        value: Any = value_in(body)
    except UsageUnfit:
        return
    assert value is None or value >= 0
