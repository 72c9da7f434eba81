"""The demo: the same facility each time, true in itself, and marked as made up."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jobmeter.model.record import record_fault
from jobmeter.report.why.facts import facts_of
from jobmeter.run.demo import documents as demo_documents
from jobmeter.run.demo import generator as demo
from jobmeter.run.demo import load as demo_load
from jobmeter.run.demo import samples as demo_samples
from jobmeter.store.open import open_store
from jobmeter.store.summaries import Summaries
from jobmeter.wire.received import decode_posted
from tests.run.test_up import ended, soon, up

NOW = datetime(2026, 5, 13, 9, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def jobs() -> list[demo.Job]:
    return list(demo.jobs(NOW, days=40))


def test_the_same_seed_makes_the_same_jobs_and_another_one_others(jobs: list[demo.Job]) -> None:
    assert list(demo.jobs(NOW, days=40)) == jobs
    assert list(demo.jobs(NOW, seed=1, days=40)) != jobs


def test_every_record_is_one_and_says_that_it_is_made_up(jobs: list[demo.Job]) -> None:
    assert len({job.record_id for job in jobs}) == len(jobs) > 2000
    for job in jobs:
        record = demo.record(job)
        assert record_fault(record) is None
        assert record.meta is not None
        assert record.meta["demo"] == ("made up",)
        told = facts_of(record)
        assert (told.manager, told.wait_seconds is not None) == (record.meta["collector_type"][0], True)
        assert told.limit_share is None or told.limit_share <= 1
        assert record.record_id.startswith("demo-")
        assert record.meta["site_id"][0].startswith("demo-")


def test_nobody_used_more_than_was_there(jobs: list[demo.Job]) -> None:
    for job in jobs:
        if job.stop is not None:
            seconds = (job.stop - job.start).total_seconds()
            assert job.cpu_seconds <= seconds * job.cores * 1.001
        assert 0 < job.peak_bytes <= job.asked_bytes
        assert job.submit <= job.start <= NOW
        assert len(job.nodes) == -(-job.cores // job.cluster.cores)


def test_some_run_now_and_few_users_make_most_jobs(jobs: list[demo.Job]) -> None:
    assert sum(job.stop is None for job in jobs) > 5
    counts = sorted((sum(job.user == user for job in jobs) for user in {job.user for job in jobs}), reverse=True)
    assert sum(counts[: len(counts) // 4]) > sum(counts) / 2


def test_a_summary_has_the_cpu_time_that_the_accounting_has(jobs: list[demo.Job]) -> None:
    measured = [(job, one) for job in jobs if (one := demo.summary(job, NOW)) is not None]
    assert measured
    for job, one in measured:
        cpu = one.metric("cgroup_cpu_usage")
        assert cpu is not None
        assert cpu.total == pytest.approx(job.cpu_seconds * 1e9)
        assert (one.joules is None) == (one.energy.value == "none")


def test_documents_are_taken_as_senders_would_send_them(jobs: list[demo.Job]) -> None:
    made = list(demo_documents.documents(jobs, demo.CLUSTERS, NOW))
    posted = decode_posted(json.dumps(made[:9999]).encode(), NOW, None)
    assert {one.document.kind for one in posted} >= {
        "ssh",
        "jupyter-ml",
        "CPU",
        "MEM",
        "NETWORK",
        "DISK",
        "condorqueue",
    }
    assert all(one.document.cluster.startswith("demo-") for one in posted)


def test_counters_of_nodes_and_jobs_never_fall(jobs: list[demo.Job]) -> None:
    last: dict[object, float] = {}
    kinds = {metric.name: metric.kind.value for metric in demo_samples.METRICS}
    for batch in demo_samples.batches(jobs, demo.CLUSTERS, NOW, hours=0.5):
        for sample in batch.samples:
            for name, value in zip(sample.metrics, sample.values, strict=True):
                key = (sample.node, sample.job, name)
                assert value is not None
                if kinds[name] == "counter":
                    assert value >= last.get(key, 0), key
                    last[key] = value


def test_a_folder_is_filled_once_and_gone_on_with_when_cut_off(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/records.db"
    said: list[str] = []
    loaded = demo_load.load(tmp_path, url, NOW, said.append, days=6)
    assert loaded is not None
    assert demo_load.load(tmp_path, url, NOW + timedelta(days=1), said.append, days=6) is None
    mark = tmp_path / demo_load.MARK
    mark.write_text(mark.read_text().replace('"is_whole":true', '"is_whole":false'))
    again = demo_load.load(tmp_path, url, NOW + timedelta(days=1), said.append, days=6)
    assert again is not None
    assert (again.records, again.summaries) == (loaded.records, loaded.summaries)
    store, summaries = open_store(url), Summaries(url)
    try:
        assert store.counts()[""] == loaded.records
        assert len(store.letters(100)) == loaded.letters
        ended = next(job for job in demo.jobs(NOW, days=6) if job.stop is not None)
        assert summaries.of_record(ended.record_id) is not None
    finally:
        summaries.close()
        store.close()


def test_a_folder_with_real_data_is_refused(tmp_path: Path) -> None:
    assert demo_load.fault(tmp_path) is None
    (tmp_path / "records.db").write_text("")
    assert demo_load.fault(tmp_path) == f"{tmp_path} {demo_load.NOT_DEMO}"


def test_up_with_demo_serves_thousands_of_jobs_and_measures_nothing_here(tmp_path: Path) -> None:
    with up("--demo", folder=tmp_path) as (server, said):
        assert said[0].startswith("DEMO: a made-up facility in data")
        found = server.get("/records?meta[site_id][c][0]=demo-lakeside&limit=5")
        assert len(found.splitlines()) == 5
        soon(lambda: b"lake001" in server.get("/v2/samples?source=procstats&node=lake001&step=10m"))
        assert ended(server)[0] == 0
