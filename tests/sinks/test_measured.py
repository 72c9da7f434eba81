"""The sink for samples and summaries, against the real server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobmeter.model.job import JobIdentity
from jobmeter.model.metric import Kind, Metric
from jobmeter.model.outcome import Accepted, Keep, Rejected
from jobmeter.model.sample import Sample, SampleBatch
from jobmeter.model.summary import JobSummary
from jobmeter.serve.table import Beside
from jobmeter.settings.samples import SampleBounds
from jobmeter.sinks.measured import MeasuredSink, Settings, open_sink
from jobmeter.store.open import open_store
from jobmeter.store.samples.open import SampleFolder
from jobmeter.store.summaries import Summaries
from jobmeter.wire.measured import samples_item, summary_item
from tests.serve.live import FixedClock, Live, live

JOB = JobIdentity("jobmeter", "", "1")
SUMMARY = JobSummary(JOB, ("n",), 0, 1, 1, 1.0, 1.0, True, ())
METRIC = Metric("cgroup_cpu_usage", "nanoseconds", Kind.COUNTER, "x")


def batch(time_ns: int) -> SampleBatch:
    return SampleBatch("n", (Sample("cgroup", "n", JOB, time_ns, (METRIC.name,), (5,)),), (METRIC,))


@pytest.fixture
def server(sqlite_url: str, tmp_path: Path) -> Iterator[Live]:
    store, summaries = open_store(sqlite_url), Summaries(sqlite_url)
    samples = SampleFolder(tmp_path / "samples", SampleBounds(), FixedClock())
    with live(store, beside=Beside(samples, summaries)) as running:
        yield running
    samples.close()
    summaries.close()
    store.close()


def sink_to(port: int) -> MeasuredSink:
    return open_sink(Settings(address=f"http://127.0.0.1:{port}", timeout_seconds=5))


def test_samples_and_summaries_are_stored_in_one_go(server: Live) -> None:
    sink = sink_to(server.port)
    items = [samples_item(batch(10**18)), samples_item(batch(10**18 + 1)), summary_item(SUMMARY)]
    assert list(sink.send(items)) == [Accepted()] * 3
    sink.close()
    assert len(json.loads(server.ask("GET", "/v2/summaries?manager=jobmeter&job=1").body)["summaries"]) == 1
    assert b"cgroup_cpu_usage" in server.ask("GET", "/v2/samples?job=1").body


def test_a_bad_item_takes_no_other_along(server: Live) -> None:
    sink = sink_to(server.port)
    outcomes = sink.send([summary_item(SUMMARY), b"summary\n{}", b"love\n{}", summary_item(SUMMARY)])
    sink.close()
    assert [type(each) for each in outcomes] == [Accepted, Rejected, Rejected, Accepted]


def test_a_server_without_a_sample_store_rejects_with_the_reason(sqlite_url: str) -> None:
    store = open_store(sqlite_url)
    with live(store) as running:
        sink = sink_to(running.port)
        outcome = sink.send([samples_item(batch(10**18))])[0]
        sink.close()
    store.close()
    assert isinstance(outcome, Rejected)
    assert "sample store" in outcome.reason


def test_a_server_that_is_away_keeps_everything() -> None:
    sink = sink_to(1)
    assert all(isinstance(each, Keep) for each in sink.send([summary_item(SUMMARY), samples_item(batch(1))]))
    sink.close()
